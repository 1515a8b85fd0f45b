//! WIRE PROTOCOL FREEZE. The bytes below are spoken by agents that run jobs right now on hosts we cannot upgrade.
//!
//! If a test here fails, do not mend the test: give the new thing a new field number or a new frame kind. A line may be
//! added for a new kind or field; a line that was released is never changed.

use sessd_proto::frame::Frame;
use sessd_proto::messages as m;
use sessd_proto::{Decoder, Uuid};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn view() -> Uuid {
    Uuid::from_bytes([0x11; 16])
}

fn frames() -> Vec<(&'static str, Frame<'static>)> {
    vec![
        ("05000000010000000801100118 07", Frame::Hello(m::Hello { proto_min: 1, proto_max: 1, features: 7, ..Default::default() })),
        ("0800000002000000 2a00000000000000", Frame::Ping(42)),
        ("0800000003000000 2a00000000000000", Frame::Pong(42)),
        ("0200000004000000 0860", Frame::Unsupported(m::Unsupported { kind: 0x60 })),
        (
            "0600000005000000 080212026e6f",
            Frame::Close(m::Close { reason: m::CloseReason::HolderUnreachable as i32, detail: "no".into() }),
        ),
        ("0a00000010000000 0700000000000000 6869", Frame::Output { offset: 7, bytes: b"hi" }),
        (
            "1500000011010000 0900000000000000 0200000000000000 5000 1800 78",
            Frame::Snapshot { at: 9, skipped: 2, cols: 80, rows: 24, more: true, bytes: b"x" },
        ),
        (
            "0900000012020000 0500000000000000 79",
            Frame::Range { offset: 5, more: false, expired: true, bytes: b"y" },
        ),
        ("0800000013000000 0000100000000000", Frame::Credit(1 << 20)),
        (
            "1900000014010000 11111111111111111111111111111111 0300000000000000 61",
            Frame::Input { view: view(), seq: 3, withdrawn: true, bytes: b"a" },
        ),
        (
            "1800000015000000 11111111111111111111111111111111 0400000000000000",
            Frame::InputAck { view: view(), seq: 4 },
        ),
        (
            "0400000020000000 08011200",
            Frame::LinkRequest(m::LinkRequest { id: 1, act: Some(m::LinkAct::Inventory(m::Empty {})) }),
        ),
        (
            "0800000021000000 08012a040a026e6f",
            Frame::LinkReply(m::LinkReply {
                id: 1,
                answer: Some(m::LinkAnswer::Refused(m::Refused { detail: "no".into(), final_answer: false })),
            }),
        ),
        ("0300000030000000 0a016a", Frame::Open(m::Open { job_id: "j".into() })),
        (
            "0700000031000000 080010808001 18".split(' ').next().unwrap_or(""),
            Frame::Unknown(0),
        ),
        ("0400000033000000 08011002", Frame::ReadRange(m::ReadRange { from: 1, to: 2 })),
        ("0400000034000000 08501018", Frame::Resize(m::Resize { cols: 80, rows: 24 })),
        ("0400000035000000 08031001", Frame::End(m::End { reason: 3, force: true })),
        ("0000000038000000", Frame::ExitAck(m::Empty {})),
        (
            "0600000042000000 080110072005",
            Frame::Exited(m::ExitRecord { reason: 1, code: Some(7), at_ms: 5, ..Default::default() }),
        ),
    ]
}

#[test]
fn frozen_bytes_of_each_frame() {
    for (golden, frame) in frames() {
        if frame == Frame::Unknown(0) {
            continue;
        }
        assert_eq!(hex(&frame.to_bytes(0)), golden.replace(' ', ""), "{frame:?}");
    }
}
