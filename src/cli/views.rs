//! What `check` says of views that collapse: a LAN that takes the callers of other apps for its own.
//!
//! A registered instance is told by its address, whatever LAN that lies in. So an instance of another app in a LAN is served well, and shows
//! that the network is not one app's: whoever else asks from that app's side is taken for the LAN's. One network of two apps is a
//! fault already; one inside the other is how a LAN is parted, and no sign; an address that apps share on purpose was said to be.
//! What only traffic shows is the matter of [`crate::census`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::name::Label;
use crate::registry::{AppId, FileFault, Registry, Source};
use crate::spec::Fault;
use crate::zone::{Lan, Ranges, Rule, View};

/// Instances of one app in the LAN of another.
struct Strangers {
    app: Label,
    first: (IpAddr, Source),
    count: usize,
}

/// Warns of every LAN that holds instances of an app that is not its own, once an app.
pub(super) fn warnings(registry: &Registry) -> Vec<FileFault> {
    let rule = |(network, app)| {
        let view = View { space: registry.space_of(app)?, lan: Lan::App(app) };
        Some(Rule { network, rank: 0, view })
    };
    let lans = Ranges::flatten(&registry.lans().filter_map(rule).collect::<Vec<_>>());
    let mut found: BTreeMap<(IpNet, AppId), Strangers> = BTreeMap::new();
    for (id, app) in registry.app_ids().filter_map(|id| Some((id, registry.app(id)?))) {
        let instances = app.components.values().flat_map(|component| component.instances.values());
        for instance in instances.filter(|instance| instance.standing.is_there()) {
            let Some(source) = &instance.source else { continue };
            for address in &instance.addresses {
                let Some(View { lan: Lan::App(holder), .. }) = lans.view_of(*address) else { continue };
                if holder == id || registry.address_holders(*address).len() > 1 {
                    continue;
                }
                let Some(network) = lan_around(registry, holder, *address) else { continue };
                let strangers = found.entry((network, id)).or_insert_with(|| Strangers {
                    app: app.label.clone(),
                    first: (*address, source.clone()),
                    count: 0,
                });
                strangers.count += 1;
            }
        }
    }
    found.iter().filter_map(|((network, _), strangers)| warning(registry, *network, strangers)).collect()
}

/// The network of an app's LAN that `address` is in.
fn lan_around(registry: &Registry, app: AppId, address: IpAddr) -> Option<IpNet> {
    let own = registry.lans().filter(|(network, holder)| *holder == app && network.contains(&address));
    own.map(|(network, _)| network).max_by_key(IpNet::prefix_len)
}

fn warning(registry: &Registry, network: IpNet, strangers: &Strangers) -> Option<FileFault> {
    let said = registry.lan_source(network)?;
    let Strangers { app, first: (address, source), count } = strangers;
    let more = if *count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    let fault = format!(
        "{network} holds {address}{more}, of {app} ({source}): what asks from beside it and is not registered is taken for this app's"
    );
    let remedy = format!("name only this app's network, or give {app} a `lan` of its own inside it");
    let fault = Fault { place: said.place, field: "lan".to_owned(), fault, remedy };
    Some(FileFault { file: said.file.clone(), fault })
}
