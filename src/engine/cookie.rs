//! Server cookies (RFC 7873) in the form that servers of all makers share (RFC 9018 §4): version, time, and a SipHash-2-4 of both
//! with the client's cookie and address.
//!
//! A cookie shows that a client is where it says it is. No answer depends on that here: a client with a stale cookie is answered,
//! and given a fresh one (RFC 7873 §5.2.4 leaves that choice). So nothing is won by guessing, and the comparison need not take
//! constant time.

use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::wire::{Cookie, ServerCookie};

/// What server cookies are made with; servers that share an address share it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secrets {
    /// Makes cookies, and checks them.
    pub current: [u8; 16],
    /// Made them until a while ago: still checks them, so that clients notice nothing of a change (RFC 9018 §5).
    pub previous: Option<[u8; 16]>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// What the server cookie of a query is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is none.
    Absent,
    /// We made it, and not too long ago.
    Valid,
    /// It is anything else.
    Invalid,
}

impl Secrets {
    /// The option that goes back to a client at `source`, and what the cookie that it sent is worth.
    ///
    /// A cookie that is fresh goes back as it came, else a new one. `now` is in seconds since 1970, cut to 32 bits.
    pub(super) fn renew(&self, cookie: &Cookie, source: IpAddr, now: u32) -> ([u8; 24], Standing) {
        let hash_with = |secret: &[u8; 16], head| hash(secret, cookie.client, head, source);
        let standing = match cookie.server {
            ServerCookie::Absent => Standing::Absent,
            ServerCookie::Interoperable { head, hash: sent } if head[0] == VERSION => {
                let age = age_of(head, now);
                let is_made_with = |secret: &[u8; 16]| hash_with(secret, head) == sent;
                let is_current = is_made_with(&self.current);
                if is_current && (-FUTURE_MAX..=FRESH_MAX).contains(&age) {
                    return (join(cookie.client, head, sent), Standing::Valid);
                }
                let is_ours = is_current || self.previous.as_ref().is_some_and(is_made_with);
                if is_ours && (-FUTURE_MAX..=AGE_MAX).contains(&age) { Standing::Valid } else { Standing::Invalid }
            }
            ServerCookie::Interoperable { .. } | ServerCookie::Other => Standing::Invalid,
        };
        let [a, b, c, d] = now.to_be_bytes();
        let head = [VERSION, 0, 0, 0, a, b, c, d];
        (join(cookie.client, head, hash_with(&self.current, head)), standing)
    }
}

/// Seconds since a cookie was made, by serial arithmetic (RFC 9018 §4.3): it works past 2106.
const fn age_of([_, _, _, _, a, b, c, d]: [u8; 8], now: u32) -> i32 {
    now.wrapping_sub(u32::from_be_bytes([a, b, c, d])).cast_signed()
}

/// RFC 9018 §4.4: SipHash-2-4 over client cookie, version, reserved octets as they came, time, and the client's address.
fn hash(secret: &[u8; 16], client: [u8; 8], head: [u8; 8], source: IpAddr) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(&client);
    hasher.write(&head);
    match source.to_canonical() {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.finish().to_le_bytes()
}

fn join(client: [u8; 8], head: [u8; 8], hash: [u8; 8]) -> [u8; 24] {
    let mut octets = [0; 24];
    for (to, from) in octets.iter_mut().zip([client, head, hash].as_flattened()) {
        *to = *from;
    }
    octets
}

/// The only version there is (RFC 9018 §4.1).
const VERSION: u8 = 1;
/// RFC 9018 §4.3: a cookie holds for an hour, is renewed after half of one, and a clock may be five minutes behind the maker's.
const AGE_MAX: i32 = 3600;
const FRESH_MAX: i32 = 1800;
const FUTURE_MAX: i32 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn octets<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
    }

    fn cookie(client: &str, server: Option<&str>) -> Cookie {
        let server = server.map_or(ServerCookie::Absent, |server| ServerCookie::Interoperable {
            head: octets(&server[..16]),
            hash: octets(&server[16..]),
        });
        Cookie { client: octets(client), server }
    }

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const CLIENT: &str = "2464c4abcf10c957";
    const MADE: &str = "010000005cf79f111f8130c3eee29480";
    const MADE_AT: u32 = 1_559_731_985;

    fn secrets() -> Secrets {
        Secrets { current: octets(SECRET), previous: None }
    }

    fn renewed(sent: Option<&str>, source: &str, now: u32) -> ([u8; 24], Standing) {
        secrets().renew(&cookie(CLIENT, sent), source.parse().unwrap(), now)
    }

    /// RFC 9018, appendix A.1 and A.2.
    #[test]
    fn cookies_are_those_of_the_rfc_s_examples() {
        let made = renewed(None, "198.51.100.100", MADE_AT);
        assert_eq!(made, (octets(&[CLIENT, MADE].concat()), Standing::Absent));
        let kept = renewed(Some(MADE), "198.51.100.100", MADE_AT + 1800);
        assert_eq!(kept, (octets(&[CLIENT, MADE].concat()), Standing::Valid));
        let (late, standing) = renewed(Some(MADE), "198.51.100.100", 1_559_734_385);
        assert_eq!((late, standing), (octets("2464c4abcf10c957010000005cf7a871d4a564a1442aca77"), Standing::Valid));
    }

    /// RFC 9018, appendix A.3: the reserved octets are hashed as they came.
    #[test]
    fn reserved_octets_may_be_anything() {
        let sent = cookie("fc93fc62807ddb86", Some("01abcdef5cf78f71a314227b6679ebf5"));
        let renew = |now| secrets().renew(&sent, "203.0.113.203".parse().unwrap(), now);
        let same = octets("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        assert_eq!(renew(1_559_728_000), (same, Standing::Valid));
        // The RFC's example is answered when the cookie is too old already.
        let fresh = octets("fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e");
        assert_eq!(renew(1_559_734_700), (fresh, Standing::Invalid));
    }

    /// RFC 9018, appendix A.4: IPv6, and a secret that has just been changed.
    #[test]
    fn the_previous_secret_still_checks() {
        let current = octets("445536bcd2513298075a5d379663c962");
        let sent = cookie("22681ab97d52c298", Some("010000005cf7c57926556bd0934c72f8"));
        let source = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap();
        let fresh = octets("22681ab97d52c298010000005cf7c609a6bb79d16625507a");
        let both = Secrets { current, previous: Some(octets("dd3bdf9344b678b185a6f5cb60fca715")) };
        assert_eq!(both.renew(&sent, source, 1_559_741_961), (fresh, Standing::Valid));
        let alone = Secrets { previous: None, ..both };
        assert_eq!(alone.renew(&sent, source, 1_559_741_961), (fresh, Standing::Invalid));
    }

    #[test]
    fn a_cookie_holds_for_an_hour_and_at_its_own_address() {
        let standing = |source, now| renewed(Some(MADE), source, now).1;
        for (after, expected) in [(3600, Standing::Valid), (3601, Standing::Invalid)] {
            assert_eq!(standing("198.51.100.100", MADE_AT + after), expected);
        }
        for (before, expected) in [(300, Standing::Valid), (301, Standing::Invalid)] {
            assert_eq!(standing("198.51.100.100", MADE_AT - before), expected);
        }
        assert_eq!(standing("198.51.100.101", MADE_AT), Standing::Invalid);
        assert_eq!(standing("::ffff:198.51.100.100", MADE_AT), Standing::Valid);
        let other_version = MADE.replacen("01", "02", 1);
        assert_eq!(renewed(Some(&other_version), "198.51.100.100", MADE_AT).1, Standing::Invalid);
    }

    #[test]
    fn time_may_run_over() {
        let (made, _) = renewed(None, "10.0.0.1", u32::MAX - 10);
        let server =
            ServerCookie::Interoperable { head: made[8..16].try_into().unwrap(), hash: made[16..].try_into().unwrap() };
        let sent = Cookie { client: octets(CLIENT), server };
        assert_eq!(secrets().renew(&sent, "10.0.0.1".parse().unwrap(), 10), (made, Standing::Valid));
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", secrets()), "Secrets { .. }");
    }
}
