//! Addresses, lists of them and dates, as peers and mail programs write them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::mail::headers::{address_list, from_addresses, unfold};
use runepeer::mail::{Address, date};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(address) = text.parse::<Address>() {
            assert_eq!(address.to_string().parse().as_ref(), Ok(&address));
        }
    }
    // No more than was there (and the marks of a group's beginning and end), whatever is nested in it.
    assert!(address_list(data).len() <= 2 * data.len() + 2);
    let _ = (unfold(data), date::parse(data));
    let _ = from_addresses(data);
});
