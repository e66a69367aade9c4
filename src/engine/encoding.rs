//! How records are encoded: kind (u16 LE), version (u8), critical (u8: 1 = refuse to start rather than ignore) and the
//! fields in order (postcard). A record of an unknown kind or version is an error where it is critical, and skipped
//! where it is not; so an older program never misreads the log of a newer one (docs/on-disk.md, "Records").

/// Why the bytes of a record cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is cut off, or a field is malformed.
    #[error("a record of kind {kind} is malformed")]
    Malformed {
        /// Its kind; 0 if it is too short to have one.
        kind: u16,
    },
    /// Its kind or version is unknown and must not be ignored.
    #[error(
        "a record of kind {kind}, version {version} was written by a newer version of runepeer; update, then try again"
    )]
    Unknown {
        /// Its kind.
        kind: u16,
        /// Its version.
        version: u8,
    },
}

const VERSION: u8 = 1;
const CRITICAL: u8 = 1;

/// The bytes of a record of this kind.
pub(in crate::engine) fn encode(kind: u16, payload: postcard::Result<Vec<u8>>) -> Result<Vec<u8>, RecordError> {
    let payload = payload.map_err(|_| RecordError::Malformed { kind })?;
    let mut bytes = Vec::with_capacity(payload.len() + 4);
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&[VERSION, CRITICAL]);
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// Reads the fields of each kind: gives the record, and how many bytes are left.
type FromPayload<R> = fn(u16, &[u8]) -> Option<postcard::Result<(R, usize)>>;

/// Reads a record; `None` if it is unknown and may be ignored.
pub(in crate::engine) fn decode<R>(bytes: &[u8], from_payload: FromPayload<R>) -> Result<Option<R>, RecordError> {
    let Some((&[low, high, version, critical], payload)) = bytes.split_first_chunk::<4>() else {
        return Err(RecordError::Malformed { kind: 0 });
    };
    let kind = u16::from_le_bytes([low, high]);
    let decoded = if version == VERSION { from_payload(kind, payload) } else { None };
    match decoded {
        Some(Ok((record, 0))) => Ok(Some(record)),
        Some(_) => Err(RecordError::Malformed { kind }),
        None if critical == 0 => Ok(None),
        None => Err(RecordError::Unknown { kind, version }),
    }
}

/// Some of the records of a log: an enum in which each variant has the number of its kind.
macro_rules! records {
    (
        $(#[$enum_doc:meta])* $enum:ident
        $( $(#[$doc:meta])* $kind:literal $name:ident { $( $(#[$field_doc:meta])* $field:ident : $type:ty ),* $(,)? } )*
    ) => {
        $(#[$enum_doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $enum {
            $( $(#[$doc])* $name { $( $(#[$field_doc])* $field: $type ),* } ),*
        }

        impl $enum {
            /// The number of this kind of record.
            pub const fn kind(&self) -> u16 {
                match self { $( Self::$name { .. } => $kind ),* }
            }

            /// The bytes that the log keeps.
            ///
            /// # Errors
            /// [`RecordError::Malformed`](crate::engine::RecordError::Malformed) if a field cannot be encoded,
            /// which no value of ours leads to.
            pub fn encode(&self) -> Result<Vec<u8>, $crate::engine::RecordError> {
                let payload = match self { $( Self::$name { $($field),* } => postcard::to_stdvec(&($($field,)*)) ),* };
                $crate::engine::encoding::encode(self.kind(), payload)
            }

            /// The record with these fields, and how many bytes are left after it; `None` if the enum does not have
            /// this kind.
            pub(in crate::engine) fn from_payload(kind: u16, payload: &[u8]) -> Option<postcard::Result<(Self, usize)>> {
                match kind {
                    $( $kind => Some(
                        postcard::take_from_bytes::<($($type,)*)>(payload)
                            .map(|(($($field,)*), rest)| (Self::$name { $($field),* }, rest.len()))
                    ), )*
                    _ => None,
                }
            }
        }
    };
}
pub(in crate::engine) use records;
