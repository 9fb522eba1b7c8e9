//! Every query type there is, at every sort of name of ours.

use spacedns::engine::{Transport, Trust};

use crate::examples::examples;
use crate::message::{Query, Response};

/// A caller on the LAN of `shop`.
const CALLER: [u8; 4] = [10, 0, 129, 3];
/// Types whose query is no question of data (RFC 6895 §3.1): OPT, and the meta-types from TKEY to ANY.
const META: [std::ops::RangeInclusive<u16>; 2] = [41..=41, 249..=255];

/// DESIGN §4.3: "any type at all (… all but 41 and 249 to 255): NODATA, SOA. Never NXDOMAIN".
#[test]
fn no_type_at_a_name_of_ours_is_nxdomain() {
    // With each name, the types that it has.
    let names: [(&str, &[u16]); 8] = [
        ("web", &[1]),
        ("_tcp.web", &[]),
        ("_3000._tcp.web", &[33]),
        ("frozen-oasis-70544.herokuapp.com", &[1, 2, 6]),
        ("whispering-willow-5678.herokudns.com", &[1, 2, 6]),
        ("web.frozen-oasis-70544.app.localspace", &[1]),
        ("frozen-oasis-70544.app.localspace", &[]),
        ("56.130.0.10.in-addr.arpa", &[12]),
    ];
    let world = examples();
    for (qname, present) in names {
        for qtype in (0..=u16::MAX).filter(|qtype| !META.iter().any(|range| range.contains(qtype))) {
            let query = Query::new(qname, qtype).octets();
            let response = world.respond(CALLER.into(), Trust::Nobody, Transport::Udp, &query).unwrap();
            let counts = [response[7], response[9]];
            let expected = if present.contains(&qtype) { [counts[0].max(1), 0] } else { [0, 1] };
            let header = (response[2] & 0x04, response[3] & 15, counts);
            assert_eq!(header, (0x04, 0, expected), "{qname} TYPE{qtype}");
            // Both readers read one in a hundred: the rest differ in the question's type alone.
            if qtype % 100 == 0 {
                let response = Response::read(&response).unwrap();
                assert!(response.authority.iter().all(|record| record.rtype == 6), "{qname} TYPE{qtype}");
            }
        }
    }
}
