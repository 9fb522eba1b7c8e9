//! Who asks, by which rule, and what that shows it (design §3).

use super::{Inquiry, Subject};
use crate::registry::{AppId, SpaceState};
use crate::zone::{Lan, SpaceIndex, View, key_of};

use super::app::standing_words;

impl Inquiry<'_> {
    /// Says who the caller is; `None` when it is nobody's.
    pub(super) fn explain_caller(&mut self) -> Option<View> {
        let view = self.snapshot.view(self.caller);
        match view {
            None => self.explain_nobody(),
            Some(_) if self.snapshot.holder(key_of(self.caller)).is_some() => self.explain_holders(),
            Some(View { lan: Lan::App(app), .. }) => self.explain_lan(app),
            Some(View { space, .. }) => self.explain_network(space),
        }
        self.explain_former_holders();
        if let Some(view) = view {
            self.explain_view(view);
        }
        view
    }

    /// Rule 1: a registered instance address.
    fn explain_holders(&mut self) {
        let holders = self.registry.address_holders(self.caller);
        for (app, component, number) in &holders {
            let Some(state) = self.registry.app(*app) else { continue };
            let instance = state.components.get(component).and_then(|found| found.instances.get(number));
            let source = instance.and_then(|instance| instance.source.clone());
            let words = format!("{} is the registered address of {} {component}.{number}", self.caller, state.label);
            self.say(Subject::Caller, words, source);
        }
        if holders.len() > 1 {
            let words =
                format!("{} apps share this address, so it cannot be told on whose LAN the caller is", holders.len());
            self.say(Subject::Caller, words, None);
        }
    }

    /// Rule 2: an app's `lan`, the longest prefix.
    fn explain_lan(&mut self, app: AppId) {
        let held = self.registry.lans().filter(|(network, holder)| *holder == app && network.contains(&self.caller));
        let Some((network, _)) = held.max_by_key(|(network, _)| network.prefix_len()) else { return };
        let label = self.registry.app(app).map(|state| state.label.to_string()).unwrap_or_default();
        let words = format!("{} is no instance's address and lies in {network}, in the `lan` of {label}", self.caller);
        self.say(Subject::Caller, words, self.registry.lan_source(network).cloned());
    }

    /// Rules 3 to 5: the space's `cidr`, a peer, this machine itself.
    fn explain_network(&mut self, space: SpaceIndex) {
        let Some(state) = self.registry.space(space) else { return };
        let (caller, name) = (self.caller, &state.spec.name.value);
        if let Some(cidr) = state.spec.cidrs.iter().find(|cidr| cidr.value.contains(&caller)) {
            let words = format!(
                "{caller} is no instance's address, in no app's `lan`, and in {}, a `cidr` of the space {name}",
                cidr.value
            );
            self.say(Subject::Caller, words, state.source_of(cidr));
        } else if let Some(peer) = state.spec.peers.iter().find(|peer| peer.value.cidr.contains(&caller)) {
            let words = format!(
                "{caller} lies in {}, the network of {}, a peer of the space {name}",
                peer.value.cidr, peer.value.name
            );
            self.say(Subject::Caller, words, state.source_of(peer));
        } else {
            let words = format!("{caller} is this machine itself, which counts as a peer of the only space, {name}");
            self.say(Subject::Caller, words, state.source.clone());
        }
    }

    /// Rule 6: anyone else.
    fn explain_nobody(&mut self) {
        if self.caller.is_loopback() {
            let count = self.registry.spaces().count();
            let words = format!(
                "{} is this machine itself, which counts as a peer where there is one space; there are {count}",
                self.caller
            );
            return self.say(Subject::Caller, words, None);
        }
        self.say(Subject::Caller, format!("{} is in no space and no peer of any", self.caller), None);
        let spaces: Vec<SpaceState> = self.registry.spaces().map(|(_, state)| state.clone()).collect();
        for state in spaces {
            let cidrs = state.spec.cidrs.iter().map(|cidr| cidr.value.to_string());
            let networks: Vec<String> =
                cidrs.chain(state.spec.peers.iter().map(|peer| peer.value.cidr.to_string())).collect();
            let words = format!("the space {} and its peers are in {}", state.spec.name.value, networks.join(", "));
            let source = state.spec.cidrs.first().and_then(|cidr| state.source_of(cidr));
            self.say(Subject::Caller, words, source);
        }
    }

    /// What else says that it is at this address, and does not count.
    fn explain_former_holders(&mut self) {
        let registry = self.registry;
        for state in registry.app_ids().filter_map(|id| registry.app(id)) {
            for (label, component) in &state.components {
                for (number, instance) in &component.instances {
                    if !instance.standing.is_there() && instance.addresses.contains(&self.caller) {
                        let why = standing_words(registry, &state, instance);
                        let words =
                            format!("{} {label}.{number} says that it is at this address, but {why}", state.label);
                        self.say(Subject::Caller, words, instance.source.clone());
                    }
                }
            }
        }
    }

    fn explain_view(&mut self, view: View) {
        let Some(space) = self.registry.space(view.space) else { return };
        let name = &space.spec.name.value;
        let (words, source) = match view.lan {
            Lan::App(app) => {
                let state = self.registry.app(app);
                let label = state.as_ref().map(|state| state.label.to_string()).unwrap_or_default();
                (
                    format!(
                        "it is shown the names of the space {name}, and the bare names of {label}, on whose LAN it is"
                    ),
                    state.and_then(|state| state.declared),
                )
            }
            Lan::None => (
                format!("it is shown the names of the space {name}, and no bare names: it is on no app's LAN"),
                space.source.clone(),
            ),
            Lan::Ambiguous => (
                format!("it is shown the names of the space {name}; its bare names have no addresses"),
                space.source.clone(),
            ),
        };
        self.say(Subject::View, words, source);
    }
}
