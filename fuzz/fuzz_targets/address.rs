//! Addresses, lists of them and dates, as peers and mail programs write them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runepeer::base::meter;
use runepeer::mail::headers::{address_list, from_addresses, unfold};
use runepeer::mail::{Address, date};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(address) = text.parse::<Address>() {
            assert_eq!(address.to_string().parse().as_ref(), Ok(&address));
        }
    }
    // No more than was there (and the marks of a group's beginning and end), whatever is nested in it.
    let (steps, list) = meter::work(|| {
        let _ = (unfold(data), date::parse(data), from_addresses(data));
        address_list(data)
    });
    assert!(list.len() <= 2 * data.len() + 2);
    assert!(steps <= 24 * data.len() as u64 + 100, "{steps} steps for {} bytes", data.len());
});
