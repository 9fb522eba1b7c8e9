//! A message is read, and twice read to the same, and as hickory-proto reads it where both can.

use hickory_proto::op::{Message, MessageType, OpCode};
use spacedns::name::{Name, NameBuffer};
use spacedns::wire::{Admission, Header, Query, admit};

/// Reads a message.
///
/// # Panics
/// When what was read is not what stands there.
pub fn run(message: &[u8]) {
    if let Some(header) = Header::read(message) {
        assert_eq!(header.octets(), message[..12]);
    }
    let mut query = Query::new();
    let read = query.read(message);
    assert!(read.is_err() || matches!(admit(message), Admission::Query(_)), "read though not admitted");
    names(message);
    if read.is_err() {
        return;
    }
    let name_end = query.question_end - 4;
    assert_eq!(query.qname.wire(), message[12..name_end].to_ascii_lowercase(), "the question's name");
    let mut again = query.clone();
    again.read(message).expect("it was read before");
    assert_eq!(format!("{query:?}"), format!("{again:?}"));
    second_opinion(message, &query);
}

/// Any place may begin a name; a name that is read is printed and read to itself.
fn names(message: &[u8]) {
    let mut buffer = NameBuffer::new();
    for at in [0, 1, 12] {
        let Ok(end) = buffer.read(message, at) else { continue };
        assert!(end <= message.len());
        let name = buffer.to_name();
        assert_eq!(name.wire(), buffer.wire());
        assert_eq!(name.label_count(), buffer.label_count());
        assert_eq!(name.to_string(), buffer.to_string());
        assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(&name), "printed and read");
        assert_eq!(Name::from_wire(buffer.wire()).as_ref(), Ok(&name));
        assert!(
            name.to_string().bytes().all(|octet| octet.is_ascii_graphic()),
            "a name is printed in plain characters"
        );
        for index in 0..buffer.label_count() {
            assert_eq!(buffer.suffix(index), &buffer.wire()[buffer.offset(index)..]);
        }
    }
}

fn second_opinion(message: &[u8], query: &Query) {
    let Ok(second) = Message::from_vec(message) else { return };
    if second.metadata.message_type != MessageType::Query || second.metadata.op_code != OpCode::Query {
        return;
    }
    let [asked] = &second.queries[..] else { return };
    assert_eq!(u16::from(asked.query_type()), query.qtype.0);
    assert_eq!(u16::from(asked.query_class()), query.qclass.0);
    let mut theirs = Vec::new();
    for label in asked.name().iter() {
        theirs.push(u8::try_from(label.len()).expect("63 at most"));
        theirs.extend(label.to_ascii_lowercase());
    }
    theirs.push(0);
    assert_eq!(theirs, query.qname.wire(), "the name as hickory-proto reads it");
    if let (Some(ours), Some(theirs), None) = (&query.edns, &second.edns, query.fault) {
        assert_eq!(ours.udp_size, theirs.max_payload().max(512));
        assert_eq!(ours.version, theirs.version());
        assert_eq!(ours.dnssec_ok, theirs.flags().dnssec_ok);
    }
}
