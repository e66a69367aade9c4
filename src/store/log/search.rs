//! Looking for bodies elsewhere than where the index says (docs/on-disk.md, "Damage"): a whole copy of a body may lie
//! in a segment from before a compaction, or in one after a compaction whose checkpoint is lost. Its own key opens it
//! wherever it lies.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::bodies::Bodies;
use super::recover::{Window, frame_starts, header_of};
use super::segment::{self, BodyEntry, FRAME_BYTES, Frame, FrameKind, Place, SegmentKey};
use super::site::Site;
use crate::base::BodyId;
use crate::store::crypt::{Sealer, sealed_len};
use crate::store::vfs::PatientVfs;

/// How many bytes are searched at a time.
const STEP: u64 = 4 << 20;

/// The entries and the sealed bytes of bodies in all segments.
#[derive(Default)]
struct Found {
    /// The entries of each body in end frames, in the order of the segments.
    entries: BTreeMap<BodyId, Vec<BodyEntry>>,
    /// The places of sealed bytes, by their length.
    frames: BTreeMap<u64, Vec<Place>>,
}

/// Corrects the index for each of these bodies, and for those that they share bytes with, where a place is found at
/// which it can be read.
pub(super) fn search(site: &Site, wrap: &Sealer, bodies: &Bodies, wanted: &BTreeSet<BodyId>) -> io::Result<()> {
    let found = Found::read(site, wrap)?;
    let mut open: Vec<BodyId> = wanted.iter().copied().collect();
    let mut met = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !met.insert(id) {
            continue;
        }
        let said: Vec<BodyEntry> =
            bodies.entry(id).into_iter().chain(found.entries.get(&id).into_iter().flatten().cloned()).collect();
        open.extend(said.iter().filter_map(|entry| entry.tail).map(|tail| tail.of));
        if let Some(entry) = found.place(bodies, &said) {
            bodies.insert(entry);
        }
    }
    Ok(())
}

impl Found {
    fn read(site: &Site, wrap: &Sealer) -> io::Result<Self> {
        let patient = site.over(Arc::new(PatientVfs(Arc::clone(&site.vfs))));
        let mut found = Self::default();
        let names = patient.vfs.list(&patient.log_dir)?;
        for number in names.iter().filter_map(|name| segment::number(name)) {
            found.segment(&patient, wrap, number)?;
        }
        Ok(found)
    }

    fn segment(&mut self, site: &Site, wrap: &Sealer, number: u64) -> io::Result<()> {
        let file = site.vfs.open(&segment::path(&site.log_dir, number))?;
        // Where the header is damaged, the sealed bodies behind it are still there.
        let key = header_of(site, wrap, number).ok().flatten().map(|link| SegmentKey::new(&link.header));
        let size = file.size()?;
        let mut window = Window::new(&*file, size);
        let mut at = 0;
        while at < size {
            let len = usize::try_from((size - at).min(STEP + FRAME_BYTES as u64)).unwrap_or(0);
            let Some(bytes) = window.get(at, len)?.map(<[u8]>::to_vec) else { break };
            for place in frame_starts(&bytes) {
                let Some(frame) = bytes.get(place..).and_then(Frame::decode) else { continue };
                let content = at + place as u64 + FRAME_BYTES as u64;
                match (frame.kind, &key) {
                    (FrameKind::Body, _) => {
                        let lies_at = Place::Inline { segment: number, offset: content };
                        self.frames.entry(u64::from(frame.len)).or_default().push(lies_at);
                    }
                    (FrameKind::End, Some(key)) => {
                        let len = usize::try_from(frame.len).unwrap_or(usize::MAX);
                        let Some(sealed) = window.get(content, len)? else { continue };
                        let end = key.open_end(&frame, content - FRAME_BYTES as u64, sealed);
                        for entry in end.into_iter().flat_map(|end| end.bodies) {
                            self.entries.entry(entry.id).or_default().push(entry);
                        }
                    }
                    (FrameKind::End, None) => {}
                }
            }
            at += STEP;
        }
        Ok(())
    }

    /// The first of these entries that is true, with the place at which its bytes were found.
    fn place(&self, bodies: &Bodies, said: &[BodyEntry]) -> Option<BodyEntry> {
        if let Some(whole) = said.iter().find(|entry| bodies.is_whole(entry)) {
            return Some(whole.clone());
        }
        said.iter().find_map(|entry| {
            let places = self.frames.get(&sealed_len(entry.len)).into_iter().flatten();
            places.map(|place| BodyEntry { place: *place, ..entry.clone() }).find(|entry| bodies.is_whole(entry))
        })
    }
}
