//! Octets → text: UTF-8 without control characters, or the one fault that says where it stops being so.
//!
//! A byte order mark of UTF-8 is passed over (RFC 3629 §6: a protocol that is always UTF-8 should not need one, and
//! Windows editors write it all the same). UTF-16 and UTF-32 are told by theirs, or by the NUL octets that ASCII has in
//! them, so that the fault can say what to do rather than where the first odd octet is.

use super::{Fault, Place};

/// Takes the octets as text.
///
/// # Errors
/// When they are not UTF-8, or hold a control character other than tab, line feed and carriage return.
pub(super) fn decode(octets: &[u8]) -> Result<&str, Fault> {
    if let Some(encoding) = wide_encoding(octets) {
        return Err(Fault {
            place: Place::START,
            field: String::new(),
            fault: format!("the file is written in {encoding}"),
            remedy: "save it as UTF-8".to_owned(),
        });
    }
    let octets = octets.strip_prefix(UTF8_MARK).unwrap_or(octets);
    let text = std::str::from_utf8(octets).map_err(|error| not_utf8(octets, error.valid_up_to()))?;
    match text.bytes().position(is_refused) {
        None => Ok(text),
        Some(offset) => Err(control_character(octets, offset)),
    }
}

/// Where an offset in octets stands; columns count characters.
pub(super) fn place_of(octets: &[u8], offset: usize) -> Place {
    let before = octets.get(..offset).unwrap_or(octets);
    let line_start = before.iter().rposition(|octet| *octet == b'\n').map_or(0, |position| position + 1);
    let breaks = before.iter().filter(|octet| **octet == b'\n').count();
    // Octets 0x80 to 0xbf continue a character.
    let column = before.get(line_start..).unwrap_or_default().iter().filter(|octet| **octet & 0xc0 != 0x80).count();
    Place { line: to_u32(breaks + 1), column: to_u32(column + 1) }
}

/// A count that cannot be over 2³² in a file of a few mebibytes.
pub(super) fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn wide_encoding(octets: &[u8]) -> Option<&'static str> {
    match octets {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [first, 0, second, 0, ..] if *first != 0 && *second != 0 => Some("UTF-16"),
        [0, first, 0, second, ..] if *first != 0 && *second != 0 => Some("UTF-16"),
        _ => None,
    }
}

fn not_utf8(octets: &[u8], offset: usize) -> Fault {
    let octet = octets.get(offset).copied().unwrap_or_default();
    Fault {
        place: place_of(octets, offset),
        field: String::new(),
        fault: format!("octet 0x{octet:02x} at offset {offset} is not UTF-8"),
        remedy: "save the file as UTF-8".to_owned(),
    }
}

fn control_character(octets: &[u8], offset: usize) -> Fault {
    let octet = octets.get(offset).copied().unwrap_or_default();
    let name = if octet == 0 { "a NUL".to_owned() } else { format!("the control character U+{octet:04X}") };
    let remedy = if octet == 0 {
        "write the file anew: NULs are what a half-written or sparse file is filled with"
    } else {
        "remove it"
    };
    Fault {
        place: place_of(octets, offset),
        field: String::new(),
        fault: format!("{name} at offset {offset}"),
        remedy: remedy.to_owned(),
    }
}

fn is_refused(octet: u8) -> bool {
    (octet < 0x20 && !matches!(octet, b'\t' | b'\n' | b'\r')) || octet == 0x7f
}

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(octets: &[u8]) -> String {
        decode(octets).unwrap_err().to_string()
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        assert_eq!(decode(b"\xef\xbb\xbfname: x\r\n"), Ok("name: x\r\n"));
    }

    #[test]
    fn utf_16_is_named_with_and_without_its_mark() {
        assert_eq!(refusal(b"\xff\xfen\0a\0"), "1:1: the file is written in UTF-16; save it as UTF-8");
        assert_eq!(refusal(b"n\0a\0m\0"), "1:1: the file is written in UTF-16; save it as UTF-8");
        assert_eq!(refusal(b"\0n\0a\0m"), "1:1: the file is written in UTF-16; save it as UTF-8");
        assert_eq!(refusal(b"\xff\xfe\0\0n\0\0\0"), "1:1: the file is written in UTF-32; save it as UTF-8");
    }

    #[test]
    fn the_first_octet_that_is_not_utf_8_has_a_place() {
        let fault = decode("name: shop\nü: \u{fc}".as_bytes()).map(|_| ());
        assert_eq!(fault, Ok(()));
        assert_eq!(
            refusal(b"name: shop\n\xc3\xbc: \xfc\n"),
            "2:4: octet 0xfc at offset 15 is not UTF-8; save the file as UTF-8"
        );
    }

    #[test]
    fn a_nul_has_a_place() {
        assert!(refusal(b"name: shop\nregion: a\0b\n").starts_with("2:10: a NUL at offset 20;"));
        assert_eq!(refusal(b"a: \x1b[0m"), "1:4: the control character U+001B at offset 3; remove it");
    }
}
