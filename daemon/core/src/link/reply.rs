//! What an agent's reply is, before it is read: reading may cost far more memory than the bytes that came.

/// The number of the request that a reply answers, without reading the rest: an agent writes it first.
pub(super) fn reply_id(body: &[u8]) -> Option<u64> {
    match Fields(body).next()? {
        (1, Value::Number(id)) => Some(id),
        _ => None,
    }
}

/// Would a reply take far more memory read than unread? A job that is told of has ids: one of fewer bytes than that is
/// none, and a frame has room for half a million of them, each worth hundreds of bytes.
pub(super) fn is_swollen(body: &[u8]) -> bool {
    const REPORT_MIN: usize = 36;
    let inventories = Fields(body).filter_map(|field| match field {
        (2, Value::Bytes(inventory)) => Some(inventory),
        _ => None,
    });
    let reports = inventories.flat_map(Fields).filter(|(number, _)| *number == 5).count();
    reports > 64 + body.len() / REPORT_MIN
}

/// The fields of a protobuf message, as far as it is one.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, n: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(n).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let n = self.varint()?;
                Value::Bytes(self.take(n)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_proto::messages::{Inventory, JobReport, JobSpec, LinkAnswer, LinkReply};

    fn body(reply: &LinkReply) -> Vec<u8> {
        sessd_proto::Frame::LinkReply(reply.clone()).to_bytes(0)[sessd_proto::Header::BYTES..].to_vec()
    }

    #[allow(clippy::needless_update)] // fields are added
    fn inventory(jobs: Vec<JobReport>) -> LinkReply {
        let inventory = Inventory { boot_id: "b".into(), jobs, ..Inventory::default() };
        LinkReply { id: 300, answer: Some(LinkAnswer::Inventory(inventory)), ..LinkReply::default() }
    }

    #[test]
    fn a_reply_names_its_request_before_it_is_read() {
        assert_eq!(reply_id(&body(&inventory(Vec::new()))), Some(300));
        for broken in [&b""[..], b"\x08", b"\x12\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(reply_id(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn an_inventory_that_would_fill_the_memory_is_known_before_it_is_read() {
        let id = || "0198c5a0-0000-7000-8000-000000000000".to_owned();
        let spec = JobSpec { job_id: id(), session_id: id(), ..JobSpec::default() };
        let honest = JobReport { spec: Some(spec), ..JobReport::default() };
        assert!(!is_swollen(&body(&inventory(vec![honest; 5_000]))));
        assert!(is_swollen(&body(&inventory(vec![JobReport::default(); 500_000]))));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_gone_through(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = (reply_id(&bytes), is_swollen(&bytes));
        }
    }
}
