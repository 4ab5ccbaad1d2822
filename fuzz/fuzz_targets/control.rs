//! The wire form of the control call.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vu_api::control::{Request, decode_rows, encode_rows};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = Request::decode(data) {
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }
    if let Ok(rows) = decode_rows(data) {
        assert_eq!(decode_rows(&encode_rows(&rows)), Ok(rows));
    }
});
