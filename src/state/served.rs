//! What is served, as records: one for each app, space and name that no app holds. The tables of a snapshot are not saved,
//! they follow from these, so that nothing on disk can be of two minds.
//!
//! The difference of two snapshots costs what changed: they share all else, and sharing shows by its address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;

use super::log::Records;
use crate::octets::{Reader, Writer};
use crate::record::Ttl;
use crate::zone::{
    AddressSet, Apex, ApexKind, App, Audience, Bare, Believed, Component, Gate, Holder, Holders, Instance,
    InstanceState, Lan, LooseName, NameEntry, NameServer, Owner, OwnerKind, Paged, Port, Ranges, Readiness, Sharing,
    Snapshot, Space, Table, Target, Types, View, app_hash, key_of, name_hash,
};

/// What the first octet of a key says of a record that is served; everything else is higher than [`SERVED_MAX`].
pub(super) const GENERATION: u8 = 1;
const SPACE: u8 = 2;
const RANGES: u8 = 3;
const APP: u8 = 4;
const LOOSE: u8 = 5;
/// The last of these.
pub(super) const SERVED_MAX: u8 = 15;

/// Adds to `records` what in `new` differs from `old`.
pub(super) fn difference(old: &Snapshot, new: &Snapshot, records: &mut Records) {
    for (index, place) in (0..=u16::MAX).zip(0..old.spaces.len().max(new.spaces.len())) {
        let at = |snapshot: &Snapshot| snapshot.spaces.get(place).cloned().flatten();
        let (old, new) = (at(old), at(new));
        if old.as_ref().map(Arc::as_ptr) != new.as_ref().map(Arc::as_ptr) {
            records.insert(key(SPACE, u32::from(index)), new.map(|space| written(|to| write_space(to, &space))));
        }
    }
    if !Arc::ptr_eq(&old.ranges, &new.ranges) {
        records.insert(key(RANGES, 0), Some(written(|to| write_ranges(to, &new.ranges))));
    }
    for (index, app) in new.apps.changes(&old.apps) {
        records.insert(key(APP, index), app.map(|app| written(|to| write_app(to, app))));
    }
    for (index, loose) in new.loose.changes(&old.loose) {
        records.insert(key(LOOSE, index), loose.map(|loose| written(|to| write_loose(to, new, loose))));
    }
}

/// What is read of records that are served, a part of them or all.
#[derive(Debug, Default)]
pub(super) struct Parts {
    spaces: BTreeMap<u32, Arc<Space>>,
    ranges: Option<Ranges>,
    apps: Vec<(u32, Arc<App>)>,
    loose: Vec<(u32, bool, Arc<LooseName>)>,
}

impl Parts {
    /// Takes one record in; `None` when it cannot be read.
    pub(super) fn read(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (kind, index) = key.split_first()?;
        if *kind == GENERATION {
            return Some(());
        }
        let index = u32::from_be_bytes(index.try_into().ok()?);
        if index > INDEX_MAX {
            return None;
        }
        match *kind {
            SPACE => _ = self.spaces.insert(index, Arc::new(Reader::whole(value, read_space)?)),
            RANGES => self.ranges = Some(Reader::whole(value, read_ranges)?),
            APP => self.apps.push((index, Arc::new(Reader::whole(value, read_app)?))),
            LOOSE => {
                let (is_tombstone, name) = Reader::whole(value, read_loose)?;
                self.loose.push((index, is_tombstone, Arc::new(name)));
            }
            _ => return None,
        }
        Some(())
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.spaces.append(&mut other.spaces);
        self.ranges = other.ranges.or_else(|| self.ranges.take());
        self.apps.append(&mut other.apps);
        self.loose.append(&mut other.loose);
    }

    /// Makes a snapshot of all that was read; its tables in threads of their own.
    pub(super) fn snapshot(self, generation: u64, serial: u32) -> Snapshot {
        let Self { spaces, ranges, mut apps, loose } = self;
        // Nearly in order: the records of a base are, and then come those that changed.
        apps.sort_by_key(|(index, _)| *index);
        let mut places: Vec<Option<Arc<Space>>> = Vec::new();
        for (index, space) in spaces {
            let index = usize::try_from(index).unwrap_or(0);
            places.resize(places.len().max(index + 1), None);
            if let Some(place) = places.get_mut(index) {
                *place = Some(space);
            }
        }
        let (names, app_names, holders) = thread::scope(|scope| {
            let names = thread::Builder::new().spawn_scoped(scope, || names_of(&apps, &loose));
            let (app_names, holders) = (app_names_of(&apps), holders_of(&apps));
            let names = names.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| names_of(&apps, &loose));
            (names, app_names, holders)
        });
        Snapshot {
            generation,
            serial,
            readiness: Readiness::Ready,
            spaces: places.into(),
            ranges: Arc::new(ranges.unwrap_or_default()),
            holders,
            names,
            app_names,
            apps: Paged::of(apps),
            loose: Paged::of(loose.into_iter().map(|(index, _, name)| (index, name)).collect()),
        }
    }
}

fn names_of(apps: &[(u32, Arc<App>)], loose: &[(u32, bool, Arc<LooseName>)]) -> Table<NameEntry> {
    let count = apps.iter().map(|(_, app)| app.owners.len()).sum::<usize>() + loose.len();
    let mut names = Table::with_room(count);
    for (index, app) in apps {
        for (owner, place) in app.owners.iter().zip(0..=u16::MAX) {
            let entry = NameEntry::Owner { app: *index, owner: place };
            names.insert(name_hash(app.space, owner.name.wire()), entry);
        }
    }
    for (index, is_tombstone, loose) in loose {
        let entry = if *is_tombstone { NameEntry::Tombstone(*index) } else { NameEntry::EmptyNonTerminal(*index) };
        names.insert(name_hash(loose.space, loose.name.wire()), entry);
    }
    names
}

fn app_names_of(apps: &[(u32, Arc<App>)]) -> Table<u32> {
    let mut names = Table::with_room(apps.len());
    for (index, app) in apps {
        names.insert(app_hash(app.space, app.label.octets()), *index);
    }
    names
}

/// Who holds each address: of several apps the first in byte order, as the compiler has it.
fn holders_of(apps: &[(u32, Arc<App>)]) -> Holders {
    let instances = |app: &App| app.components.iter().map(|component| component.instances.len()).sum::<usize>();
    let mut holders = Holders::with_room(apps.iter().map(|(_, app)| instances(app)).sum());
    let by_index: Vec<&App> = apps.iter().map(|(_, app)| &**app).collect();
    // Which place in `apps` an index has; only asked where an address is shared.
    let label_of = |index: u32| {
        let place = apps.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        by_index.get(place).map(|app| &app.label)
    };
    for (index, app) in apps {
        for (component, place) in app.components.iter().zip(0..=u16::MAX) {
            for (instance, number) in component.instances.iter().zip(0..=u16::MAX) {
                for address in instance.held().map(key_of) {
                    let sharing = Sharing::Sole;
                    let new = Holder { address, app: *index, component: place, instance: number, sharing };
                    let Some(old) = holders.find(address) else {
                        holders.insert(new);
                        continue;
                    };
                    if old.app == *index {
                        continue;
                    }
                    let first = if label_of(old.app) <= Some(&app.label) { old } else { new };
                    holders.remove(old);
                    holders.insert(Holder { sharing: Sharing::Shared, ..first });
                }
            }
        }
    }
    holders
}

fn key(kind: u8, index: u32) -> Vec<u8> {
    let [a, b, c, d] = index.to_be_bytes();
    vec![kind, a, b, c, d]
}

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut to = Writer::new();
    write(&mut to);
    to.0
}

fn write_space(to: &mut Writer, space: &Space) {
    to.text(&space.name);
    to.u32(space.ttl.seconds());
    to.u32(space.negative_ttl.seconds());
    write_addresses(to, &space.router);
    to.list(&space.apexes, |to, apex| {
        to.name(&apex.name);
        to.u8(u8::from(apex.kind == ApexKind::Hostnames));
    });
    to.list(&space.reverse, Writer::name);
    to.list(&space.discovery, Writer::name);
    to.list(&space.ns, |to, server| {
        to.name(&server.name);
        to.list(&server.v4, |to, address| to.v4(*address));
        to.list(&server.v6, |to, address| to.v6(*address));
    });
}

fn read_space(from: &mut Reader<'_>) -> Option<Space> {
    Some(Space {
        name: from.text()?.into(),
        ttl: Ttl::from_seconds(from.u32()?),
        negative_ttl: Ttl::from_seconds(from.u32()?),
        router: read_addresses(from)?,
        apexes: from
            .list(|from| {
                let name = from.name()?;
                let kind = if from.flag()? { ApexKind::Hostnames } else { ApexKind::Discovery };
                Some(Apex { labels: name.label_count(), name, kind })
            })?
            .into(),
        reverse: from.list(Reader::name)?.into(),
        discovery: from.list(Reader::name)?.into(),
        ns: from
            .list(|from| {
                let name = from.name()?;
                Some(NameServer { name, v4: from.list(Reader::v4)?.into(), v6: from.list(Reader::v6)?.into() })
            })?
            .into(),
    })
}

fn write_addresses(to: &mut Writer, set: &AddressSet) {
    let [picks_v4, picks_v6] = set.picks();
    to.list(set.v4(), |to, address| to.v4(*address));
    to.list(set.v6(), |to, address| to.v6(*address));
    to.list(picks_v4, |to, pick| to.u16(*pick));
    to.list(picks_v6, |to, pick| to.u16(*pick));
}

fn read_addresses(from: &mut Reader<'_>) -> Option<AddressSet> {
    let (v4, v6) = (from.list(Reader::v4)?, from.list(Reader::v6)?);
    AddressSet::from_parts(v4, v6, from.list(Reader::u16)?, from.list(Reader::u16)?)
}

fn write_ranges(to: &mut Writer, ranges: &Ranges) {
    let all: Vec<_> = ranges.iter().collect();
    to.list(all, |to, (first, last, view)| {
        to.u128(first);
        to.u128(last);
        to.u16(view.space);
        match view.lan {
            Lan::None => to.u8(0),
            Lan::App(app) => {
                to.u8(1);
                to.u32(app);
            }
            Lan::Ambiguous => to.u8(2),
        }
    });
}

fn read_ranges(from: &mut Reader<'_>) -> Option<Ranges> {
    let ranges = from.list(|from| {
        let (first, last, space) = (from.u128()?, from.u128()?, from.u16()?);
        let lan = match from.u8()? {
            0 => Lan::None,
            1 => Lan::App(from.u32()?),
            2 => Lan::Ambiguous,
            _ => return None,
        };
        Some((first, last, View { space, lan }))
    })?;
    Ranges::from_sorted(ranges)
}

fn write_app(to: &mut Writer, app: &App) {
    to.u16(app.space);
    to.label(&app.label);
    to.u8(u8::from(app.audience == Audience::Lan));
    match &app.gate {
        Gate::Router => to.u8(0),
        Gate::Web(component) => {
            to.u8(1);
            to.u16(*component);
        }
        Gate::KeptRouter(component) => {
            to.u8(3);
            to.u16(*component);
        }
        Gate::KeptWeb(component) => {
            to.u8(4);
            to.u16(*component);
        }
        Gate::Closed(reason) => {
            to.u8(2);
            to.text(reason);
        }
    }
    to.list(&app.owners, |to, owner| {
        to.name(&owner.name);
        to.u8(match owner.kind {
            OwnerKind::Hostname => 0,
            OwnerKind::Target => 1,
            OwnerKind::Domain => 2,
            OwnerKind::Wildcard => 3,
        });
    });
    to.list(&app.components, |to, component| {
        to.label(&component.label);
        to.u8(u8::from(component.bare == Bare::Nameless));
        write_addresses(to, &component.up);
        to.u8(u8::from(component.believed == Believed::Instances));
        to.text(&component.closed);
        to.list(&component.instances, write_instance);
        to.list(&component.ports, |to, port| {
            to.label(&port.label);
            to.list(&port.targets, |to, target| {
                to.u16(target.instance);
                to.u16(target.port);
            });
        });
    });
}

fn read_app(from: &mut Reader<'_>) -> Option<App> {
    Some(App {
        space: from.u16()?,
        label: from.label()?,
        audience: if from.flag()? { Audience::Lan } else { Audience::Space },
        gate: match from.u8()? {
            0 => Gate::Router,
            1 => Gate::Web(from.u16()?),
            2 => Gate::Closed(from.text()?.into()),
            3 => Gate::KeptRouter(from.u16()?),
            4 => Gate::KeptWeb(from.u16()?),
            _ => return None,
        },
        owners: from
            .list(|from| {
                let name = from.name()?;
                let kind = match from.u8()? {
                    0 => OwnerKind::Hostname,
                    1 => OwnerKind::Target,
                    2 => OwnerKind::Domain,
                    3 => OwnerKind::Wildcard,
                    _ => return None,
                };
                Some(Owner { name, kind })
            })?
            .into(),
        components: from.list(read_component)?.into(),
    })
}

fn read_component(from: &mut Reader<'_>) -> Option<Component> {
    Some(Component {
        label: from.label()?,
        bare: if from.flag()? { Bare::Nameless } else { Bare::Named },
        up: read_addresses(from)?,
        believed: if from.flag()? { Believed::Instances } else { Believed::Checks },
        closed: from.text()?.into(),
        instances: from.list(read_instance)?.into(),
        ports: from
            .list(|from| {
                let label = from.label()?;
                let targets = from.list(|from| Some(Target { instance: from.u16()?, port: from.u16()? }))?;
                Some(Port { label, targets: targets.into() })
            })?
            .into(),
    })
}

fn write_instance(to: &mut Writer, instance: &Instance) {
    to.u32(instance.number);
    to.u8(match instance.state {
        InstanceState::Up => 0,
        InstanceState::Starting => 1,
        InstanceState::Draining => 2,
        InstanceState::Down => 3,
        InstanceState::Expired => 4,
        InstanceState::Displaced => 5,
        InstanceState::Unregistered => 6,
        InstanceState::Waiting => 7,
        InstanceState::Unhealthy => 8,
    });
    to.list(instance.addresses.v4(), |to, address| to.v4(*address));
    to.list(instance.addresses.v6(), |to, address| to.v6(*address));
}

fn read_instance(from: &mut Reader<'_>) -> Option<Instance> {
    Some(Instance {
        number: from.u32()?,
        state: match from.u8()? {
            0 => InstanceState::Up,
            1 => InstanceState::Starting,
            2 => InstanceState::Draining,
            3 => InstanceState::Down,
            4 => InstanceState::Expired,
            5 => InstanceState::Displaced,
            6 => InstanceState::Unregistered,
            7 => InstanceState::Waiting,
            8 => InstanceState::Unhealthy,
            _ => return None,
        },
        addresses: {
            let (v4, v6) = (from.list(Reader::v4)?, from.list(Reader::v6)?);
            AddressSet::new(v4.into_iter().map(IpAddr::V4).chain(v6.into_iter().map(IpAddr::V6)))
        },
    })
}

fn write_loose(to: &mut Writer, snapshot: &Snapshot, loose: &LooseName) {
    let entry = snapshot.name_entry(loose.space, loose.name.wire());
    to.flag(matches!(entry, Some(NameEntry::Tombstone(_))));
    to.u16(loose.space);
    to.name(&loose.name);
    to.flag(loose.types == Types::Address);
}

fn read_loose(from: &mut Reader<'_>) -> Option<(bool, LooseName)> {
    let (is_tombstone, space, name) = (from.flag()?, from.u16()?, from.name()?);
    let types = if from.flag()? { Types::Address } else { Types::All };
    Some((is_tombstone, LooseName { space, name, types }))
}

/// The highest place in a list that is believed.
const INDEX_MAX: u32 = 1 << 24;
