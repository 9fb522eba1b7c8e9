//! What a registry is made of again, as records: the last good version of every file, and the claims beside the documents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::log::Records;
use super::served::SERVED_MAX;
use crate::name::Name;
use crate::octets::{Reader, Writer};
use crate::registry::{
    AppClaims, AppId, FileClaims, FileFault, Health, Now, OwnerKind, Source, SpaceClaims, SpaceId, SpaceState,
    TombstoneClaim, UnreadyInstance,
};
use crate::spec::{AppDomain, At, Fault, NameServer, Own, Peer, Place, SpaceSpec};

/// What the first octet of a key says of a record that is not served; all are higher than [`SERVED_MAX`].
const SPACES: u8 = SERVED_MAX + 1;
const APP: u8 = 17;
const TOMBSTONE: u8 = 18;
const ROOT: u8 = 19;
const FILE: u8 = 32;
const LAPSED: u8 = 33;

/// The last good version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its octets; none of a file of which no version was ever good, but that is to be a space.
    pub octets: Box<[u8]>,
    /// What its reader knows it by, in a form of its own.
    pub mark: Box<[u8]>,
    /// What the registry knows of it.
    pub claims: FileClaims,
}

/// Everything that outlived the process besides what was served.
#[derive(Debug, Default)]
pub struct Remembered {
    /// The last good version of every file.
    pub files: BTreeMap<Arc<str>, Version>,
    /// Which directory this was, in a form of its reader's own.
    pub root: Option<Box<[u8]>>,
    /// The spaces.
    pub spaces: SpaceClaims,
    /// The apps.
    pub apps: Vec<AppClaims>,
    /// The names that were removed a while ago.
    pub tombstones: Vec<TombstoneClaim>,
}

pub(super) fn put_file(records: &mut Records, file: &str, version: Option<&Version>) {
    let Some(version) = version else {
        records.insert(keyed(FILE, file.as_bytes()), None);
        records.insert(keyed(LAPSED, file.as_bytes()), None);
        return;
    };
    let mut to = Writer::new();
    to.octets(&version.octets);
    to.octets(&version.mark);
    to.u128(version.claims.modified);
    to.u64(version.claims.seen);
    records.insert(keyed(FILE, file.as_bytes()), Some(to.0));
    put_lapsed(records, file, &version.claims);
}

pub(super) fn put_lapsed(records: &mut Records, file: &str, claims: &FileClaims) {
    let value = (!claims.lapsed.is_empty()).then(|| {
        let mut to = Writer::new();
        to.list(&claims.lapsed, |to, (lease, at)| {
            to.u64(lease.as_secs());
            to.u32(lease.subsec_nanos());
            to.u64(*at);
        });
        to.0
    });
    records.insert(keyed(LAPSED, file.as_bytes()), value);
}

pub(super) fn put_root(records: &mut Records, mark: &[u8]) {
    records.insert(keyed(ROOT, &[]), Some(mark.to_vec()));
}

pub(super) fn put_app(records: &mut Records, id: AppId, claims: Option<&AppClaims>, now: Now) {
    let value = claims.map(|claims| {
        let mut to = Writer::new();
        to.u16(claims.space);
        to.label(&claims.label);
        to.option(claims.created_routed, Writer::flag);
        to.option(claims.declared_by.as_ref(), |to, file| to.text(file));
        to.flag(claims.ever_declared);
        to.list(&claims.numbers, |to, (label, numbers)| {
            to.label(label);
            to.list(numbers, |to, number| to.u32(*number));
        });
        to.option(claims.forget_in, |to, left| to.u64(until(left, now)));
        to.list(&claims.names, Writer::name);
        to.list(&claims.lans, |to, network| to.network(*network));
        to.list(&claims.unready, |to, instance| {
            to.label(&instance.component);
            to.u32(instance.number);
            to.list(&instance.addresses, |to, address| to.ip(*address));
            to.flag(matches!(instance.health, Health::Waiting(_)));
            to.option(instance.health.reason(), Writer::text);
        });
        to.0
    });
    records.insert(keyed(APP, &id.to_be_bytes()), value);
}

pub(super) fn put_tombstone(
    records: &mut Records,
    (space, name): &(SpaceId, Name),
    claim: Option<&TombstoneClaim>,
    now: Now,
) {
    let value = claim.map(|claim| {
        let mut to = Writer::new();
        to.u8(match claim.kind {
            OwnerKind::Hostname => 0,
            OwnerKind::Target => 1,
            OwnerKind::Domain => 2,
            OwnerKind::Wildcard => 3,
        });
        to.u64(until(claim.left, now));
        to.0
    });
    records.insert(keyed(TOMBSTONE, &[&space.to_be_bytes(), name.wire()].concat()), value);
}

pub(super) fn put_spaces(records: &mut Records, claims: &SpaceClaims) {
    let mut to = Writer::new();
    to.list(&claims.served, |to, (id, state)| {
        to.u16(*id);
        to.option(state.source.as_ref(), |to, source| {
            to.text(&source.file);
            place(to, source.place);
        });
        to.text(&state.directory);
        put_spec(to, &state.spec);
    });
    to.list(&claims.directories, |to, (directory, space)| {
        to.text(directory);
        to.option(*space, Writer::u16);
    });
    to.count(claims.retained);
    to.list(&claims.faults, |to, FileFault { file, fault }| {
        to.text(file);
        place(to, fault.place);
        to.text(&fault.field);
        to.text(&fault.fault);
        to.text(&fault.remedy);
    });
    records.insert(keyed(SPACES, &[]), Some(to.0));
}

impl Remembered {
    /// Takes one record in; `None` when it cannot be read.
    pub(super) fn read(&mut self, key: &[u8], value: &[u8], now: Now) -> Option<()> {
        let (kind, rest) = key.split_first()?;
        match *kind {
            SPACES => self.spaces = Reader::whole(value, read_spaces)?,
            APP => {
                let id = AppId::from_be_bytes(rest.try_into().ok()?);
                self.apps.push(Reader::whole(value, |from| read_app(from, id, now))?);
            }
            TOMBSTONE => {
                let (space, name) = rest.split_first_chunk()?;
                let (space, name) = (SpaceId::from_be_bytes(*space), Name::from_wire(name).ok()?);
                self.tombstones.push(Reader::whole(value, |from| {
                    let kind = match from.u8()? {
                        0 => OwnerKind::Hostname,
                        1 => OwnerKind::Target,
                        2 => OwnerKind::Domain,
                        3 => OwnerKind::Wildcard,
                        _ => return None,
                    };
                    Some(TombstoneClaim { space, name, kind, left: left(from.u64()?, now) })
                })?);
            }
            ROOT => self.root = Some(value.into()),
            FILE => {
                let version = Reader::whole(value, |from| {
                    let (octets, mark) = (from.octets()?.into(), from.octets()?.into());
                    let claims = FileClaims { modified: from.u128()?, seen: from.u64()?, lapsed: BTreeMap::new() };
                    Some(Version { octets, mark, claims })
                })?;
                self.files.insert(Arc::from(str::from_utf8(rest).ok()?), version);
            }
            // In the order of keys these come after all files.
            LAPSED => {
                let lapsed = Reader::whole(value, |from| {
                    from.list(|from| {
                        let lease = Duration::from_secs(from.u64()?).checked_add(nanoseconds(from.u32()?))?;
                        Some((lease, from.u64()?))
                    })
                })?;
                if let Some(version) = self.files.get_mut(str::from_utf8(rest).ok()?) {
                    version.claims.lapsed = lapsed.into_iter().collect();
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn nanoseconds(count: u32) -> Duration {
    Duration::from_nanos(u64::from(count))
}

fn keyed(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind], rest].concat()
}

/// A moment that is so far off, on the wall clock: the only one that another process can read.
fn until(left: Duration, now: Now) -> u64 {
    now.wall.saturating_add(left.as_secs()).saturating_add(u64::from(left.subsec_nanos() > 0))
}

/// How far a moment is off. Whoever uses it holds it to how far it may be, as the clock may have been set back.
const fn left(until: u64, now: Now) -> Duration {
    Duration::from_secs(until.saturating_sub(now.wall))
}

fn read_app(from: &mut Reader<'_>, id: AppId, now: Now) -> Option<AppClaims> {
    Some(AppClaims {
        id,
        space: from.u16()?,
        label: from.label()?,
        created_routed: from.option(Reader::flag)?,
        declared_by: from.option(|from| from.text().map(Arc::from))?,
        ever_declared: from.flag()?,
        numbers: from.list(|from| Some((from.label()?, from.list(Reader::u32)?)))?,
        forget_in: from.option(Reader::u64)?.map(|until| left(until, now)),
        names: from.list(Reader::name)?,
        lans: from.list(Reader::network)?,
        unready: from.list(|from| {
            let (component, number, addresses) = (from.label()?, from.u32()?, from.list(Reader::ip)?);
            let waits = from.flag()?;
            let reason = from.option(|from| from.text().map(Arc::from))?;
            let health = if waits { Health::Waiting(reason) } else { Health::Failing(reason?) };
            Some(UnreadyInstance { component, number, addresses, health })
        })?,
    })
}

fn read_spaces(from: &mut Reader<'_>) -> Option<SpaceClaims> {
    let served = from.list(|from| {
        let id = from.u16()?;
        let source = from.option(|from| Some(Source { file: from.text()?.into(), place: read_place(from)? }))?;
        let directory = from.text()?.into();
        Some((id, SpaceState { spec: read_spec(from)?, source, directory }))
    })?;
    let directories = from.list(|from| Some((Arc::from(from.text()?), from.option(Reader::u16)?)))?;
    let retained = from.count()?;
    let faults = from.list(|from| {
        let file = from.text()?.into();
        let fault = Fault {
            place: read_place(from)?,
            field: from.text()?.to_owned(),
            fault: from.text()?.to_owned(),
            remedy: from.text()?.to_owned(),
        };
        Some(FileFault { file, fault })
    })?;
    let (served, directories) = (served.into_iter().collect(), directories.into_iter().collect());
    Some(SpaceClaims { served, directories, retained, faults })
}

fn put_spec(to: &mut Writer, spec: &SpaceSpec) {
    at(to, &spec.name, |to, name| to.text(name));
    ats(to, &spec.cidrs, |to, cidr| to.network(*cidr));
    ats(to, &spec.instances, |to, cidr| to.network(*cidr));
    ats(to, &spec.router, |to, address| to.ip(*address));
    to.flag(spec.internal_routing);
    ats(to, &spec.app_domains, |to, domain| {
        to.name(&domain.name);
        to.flag(domain.own == Own::Exclusive);
    });
    ats(to, &spec.discovery_domains, Writer::name);
    ats(to, &spec.peers, |to, peer| {
        to.text(&peer.name);
        to.network(peer.cidr);
    });
    to.u32(spec.ttl);
    to.u32(spec.negative_ttl);
    ats(to, &spec.ns, |to, ns| {
        to.name(&ns.name);
        to.list(&ns.addresses, |to, address| to.ip(*address));
    });
}

fn read_spec(from: &mut Reader<'_>) -> Option<SpaceSpec> {
    Some(SpaceSpec {
        name: read_at(from, |from| from.text().map(str::to_owned))?,
        cidrs: read_ats(from, Reader::network)?,
        instances: read_ats(from, Reader::network)?,
        router: read_ats(from, Reader::ip)?,
        internal_routing: from.flag()?,
        app_domains: read_ats(from, |from| {
            let name = from.name()?;
            Some(AppDomain { name, own: if from.flag()? { Own::Exclusive } else { Own::Overlay } })
        })?,
        discovery_domains: read_ats(from, Reader::name)?,
        peers: read_ats(from, |from| Some(Peer { name: from.text()?.to_owned(), cidr: from.network()? }))?,
        ttl: from.u32()?,
        negative_ttl: from.u32()?,
        ns: read_ats(from, |from| Some(NameServer { name: from.name()?, addresses: from.list(Reader::ip)? }))?,
    })
}

fn place(to: &mut Writer, place: Place) {
    to.u32(place.line);
    to.u32(place.column);
}

fn read_place(from: &mut Reader<'_>) -> Option<Place> {
    Some(Place { line: from.u32()?, column: from.u32()? })
}

fn at<T>(to: &mut Writer, at: &At<T>, write: impl FnOnce(&mut Writer, &T)) {
    place(to, at.place);
    write(to, &at.value);
}

fn ats<T>(to: &mut Writer, values: &[At<T>], write: impl Fn(&mut Writer, &T)) {
    to.list(values, |to, value| at(to, value, &write));
}

fn read_at<'o, T>(from: &mut Reader<'o>, read: impl FnOnce(&mut Reader<'o>) -> Option<T>) -> Option<At<T>> {
    Some(At { place: read_place(from)?, value: read(from)? })
}

fn read_ats<'o, T>(from: &mut Reader<'o>, read: impl Fn(&mut Reader<'o>) -> Option<T>) -> Option<Vec<At<T>>> {
    from.list(|from| read_at(from, &read))
}
