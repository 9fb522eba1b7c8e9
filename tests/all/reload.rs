//! Files change while queries run: every response is entirely the old or entirely the new, none is lost, and a broken file
//! changes nothing and shows its fault.

use std::process::Command;

use crate::canary::{Addresses, Canary};
use crate::process::{PATIENCE, SPACEDNS, Server, drop_file, poll};

const SPACE: &str = "space: acme\ncidr: 10.0.0.0/16\n";
const APP: &str = "app: shop\ninternal_routing: true\nformation: {web: {quantity: 2}}\n";
const REGISTRATIONS: &str = "instances/shop.yaml";
/// Names that all stand for the same instances.
const NAMES: [&str; 3] = ["shop.herokuapp.com", "web.shop.app.localspace", "WEB.Shop.App.LocalSpace"];
const ROUNDS: u8 = 10;

#[test]
fn every_response_under_reload_is_entirely_old_or_entirely_new() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    drop_file(place, "space.yaml", SPACE);
    drop_file(place, "shop.yaml", APP);
    drop_file(place, REGISTRATIONS, &registrations(0));
    let server = Server::spacedns(place);
    let mut canary = Canary::start(&server, &NAMES, addresses(0));
    for round in 0..ROUNDS {
        let [one, two, three, four] = [1, 2, 3, 4].map(|step| round * 10 + step);
        // Renamed in.
        canary.change(addresses(one), || drop_file(place, REGISTRATIONS, &registrations(one)));
        // Edited in place.
        canary.change(addresses(two), || std::fs::write(place.join(REGISTRATIONS), registrations(two)).unwrap());
        // Broken, by rename and in place: nothing changes, and the fault is shown.
        drop_file(place, REGISTRATIONS, "app: shop\ninstances: [\n");
        assert_shows_fault(&server, place);
        std::fs::write(place.join(REGISTRATIONS), "app: shop\ninstances:\n  - {component: web, number: none}\n")
            .unwrap();
        canary.hold(20);
        // Mended.
        canary.change(addresses(three), || drop_file(place, REGISTRATIONS, &registrations(three)));
        // Removed.
        canary.change(Addresses::new(), || std::fs::remove_file(place.join(REGISTRATIONS)).unwrap());
        canary.change(addresses(four), || drop_file(place, REGISTRATIONS, &registrations(four)));
    }
    let asked = canary.end();
    assert!(asked > 100, "only {asked} queries were asked");
}

/// Two instances that nothing but this version of the file has.
fn registrations(version: u8) -> String {
    let instances: Vec<String> = addresses(version)
        .iter()
        .zip(1..)
        .map(|(address, number)| format!("  - {{component: web, number: {number}, address: {address}}}\n"))
        .collect();
    format!("app: shop\ninstances:\n{}", instances.concat())
}

fn addresses(version: u8) -> Addresses {
    [1, 2].map(|host| format!("10.0.{version}.{host}")).into()
}

/// `check` lists the fault, and the server has logged it.
fn assert_shows_fault(server: &Server, directory: &std::path::Path) {
    let check = Command::new(SPACEDNS).arg("check").arg(directory).output().unwrap();
    let listed = [check.stdout, check.stderr].concat();
    let listed = String::from_utf8_lossy(&listed);
    assert_eq!(check.status.code(), Some(1), "{listed}");
    assert!(listed.contains(REGISTRATIONS), "{listed}");
    let logged = poll(PATIENCE, || server.log().contains(REGISTRATIONS).then_some(()));
    assert!(logged.is_some(), "the fault is not logged:\n{}", server.log());
}
