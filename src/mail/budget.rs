//! How much of the headers of a message and of its parts is read.
//!
//! The header of a message is read up to the bound for messages that arrive. The header of a part is smaller, and has
//! bounds of its own; all headers of one message together have one more. Fields beyond a bound are not read, and a part
//! whose header is not read is opaque.

use crate::base::limits::{
    HEADER_BYTES, HEADER_FIELDS, MIME_HEADER_BYTES, MIME_HEADER_FIELDS, PART_HEADER_BYTES, PART_HEADER_FIELDS,
};

use super::headers::{self, Field};

/// How much may still be read of the headers of one message.
#[derive(Debug)]
pub struct HeaderBudget {
    bytes: usize,
    fields: usize,
}

impl Default for HeaderBudget {
    fn default() -> Self {
        Self { bytes: MIME_HEADER_BYTES, fields: MIME_HEADER_FIELDS }
    }
}

impl HeaderBudget {
    /// The fields of the header of a message, or of another part, that lie within the bounds.
    pub fn fields<'a>(&mut self, header: &'a [u8], of_message: bool) -> Vec<Field<'a>> {
        let (bytes, count) =
            if of_message { (HEADER_BYTES, HEADER_FIELDS) } else { (PART_HEADER_BYTES, PART_HEADER_FIELDS) };
        let window = header.len().min(bytes).min(self.bytes);
        let is_cut = window < header.len();
        let window = header.get(..window).unwrap_or_default();
        let mut fields: Vec<Field<'a>> = headers::fields(window).take(count.min(self.fields)).collect();
        // The last field may continue beyond the bound.
        let end: usize = fields.iter().map(|field| field.raw.len()).sum();
        if is_cut && end == window.len() {
            fields.pop();
        }
        self.bytes = self.bytes.saturating_sub(window.len());
        self.fields = self.fields.saturating_sub(fields.len());
        fields
    }
}
