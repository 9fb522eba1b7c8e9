//! A spec directory for the tests of the commands that read one.

use std::time::Duration;

use crate::registry::Now;
use crate::watch::{self, Survey};

/// A space with three apps: `shop` answers, `blog` has nothing up, `secret` is seen by its own LAN only.
pub(super) fn shop() -> Survey {
    read(&[])
}

/// The same with more files, or with others in the place of these.
pub(super) fn read(more: &[(&str, &str)]) -> Survey {
    let directory = tempfile::tempdir().unwrap();
    for (file, text) in FILES.iter().chain(more) {
        let path = directory.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let now = Now { monotonic: Duration::ZERO, wall: 1_795_192_782 };
    let survey = watch::survey(directory.path(), Duration::from_secs(60), now).unwrap();
    assert_eq!(survey.registry.faults(), []);
    survey
}

const FILES: [(&str, &str); 4] = [
    (
        "space.yaml",
        "space: acme\ncidr: 10.0.0.0/16\nrouter: 10.0.0.10\napp_domains: [herokuapp.com, {name: own.internal, own: exclusive}]\n",
    ),
    (
        "shop.yaml",
        "name: shop\nservices: [{name: web, instance_count: 2}]\nworkers: [{name: worker}]\n---\napp: shop\n\
         instances: [{component: web, number: 1, address: 10.0.1.1}]\ninternal_routing: true\ndiscovery: space\n\
         domains: [{domain: api.example.com, wildcard: true, cname: willow.herokudns.com}]\n",
    ),
    ("blog.yaml", "app: blog\ninternal_routing: true\nformation: {web: {quantity: 2}}\n"),
    (
        "secret.yaml",
        "name: secret\nservices: [{name: api}]\n---\napp: secret\ninstances: [{component: api, number: 1, address: 10.0.3.1}]\n",
    ),
];
