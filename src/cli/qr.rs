//! Invitations as QR codes, on the terminal and as PNG; and out of pictures.

mod read;

pub(super) use read::invitation;

use std::io::{BufWriter, IsTerminal};
use std::path::Path;

use qrcode::{Color, EcLevel, QrCode};

use super::output::{private_file, unwritten};
use crate::control::{Code, Failure};

/// Light modules around a code (ISO/IEC 18004 asks for four).
const QUIET_ZONE: usize = 4;
/// Pixels per module of a PNG.
const SCALE: usize = 8;
/// Black letters on white (ECMA-48, with the fixed part of the 256 colours).
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const PLAIN: &str = "\x1b[0m";

/// A square of modules, dark or light, with its quiet zone.
struct Modules {
    width: usize,
    dark: Vec<bool>,
}

impl Modules {
    fn of(text: &str) -> Result<Self, Failure> {
        // Upper case fits QR's alphanumeric mode, which makes the code smaller. Invitations are read in either case.
        let code = QrCode::with_error_correction_level(text.to_ascii_uppercase(), EcLevel::M)
            .map_err(|error| Failure::new(Code::Failed, format!("the QR code cannot be made: {error}")))?;
        Ok(Self { width: code.width(), dark: code.into_colors().into_iter().map(|c| c == Color::Dark).collect() })
    }

    const fn side(&self) -> usize {
        self.width + 2 * QUIET_ZONE
    }

    fn is_dark(&self, x: usize, y: usize) -> bool {
        let (Some(x), Some(y)) = (x.checked_sub(QUIET_ZONE), y.checked_sub(QUIET_ZONE)) else { return false };
        x < self.width && self.dark.get(y * self.width + x).copied().unwrap_or(false)
    }
}

/// The code for standard output, in half-block characters, two modules to a character.
pub(super) fn terminal(text: &str) -> Result<String, Failure> {
    Ok(drawn(&Modules::of(text)?, std::io::stdout().is_terminal()))
}

/// Dark modules are drawn, light ones left out. On a terminal the colours are set, to the black and the white that no theme
/// changes: there a code in the terminal's own colours would be inverted half of the time, and few readers take such a one.
fn drawn(modules: &Modules, coloured: bool) -> String {
    let (begin, end) = if coloured { (BLACK_ON_WHITE, PLAIN) } else { ("", "") };
    let mut lines = String::new();
    for y in (0..modules.side()).step_by(2) {
        lines.push_str(begin);
        for x in 0..modules.side() {
            lines.push(match (modules.is_dark(x, y), modules.is_dark(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        lines.push_str(end);
        lines.push('\n');
    }
    lines
}

/// Writes the code as a PNG of one bit per pixel.
pub(super) fn png(text: &str, path: &Path) -> Result<(), Failure> {
    let modules = Modules::of(text)?;
    let side = modules.side() * SCALE;
    let mut rows = Vec::new();
    for y in 0..side {
        let mut row = vec![0_u8; side.div_ceil(8)];
        for x in (0..side).filter(|x| !modules.is_dark(x / SCALE, y / SCALE)) {
            if let Some(byte) = row.get_mut(x / 8) {
                *byte |= 0x80 >> (x % 8);
            }
        }
        rows.extend_from_slice(&row);
    }
    let side = u32::try_from(side).map_err(|error| unwritten(path, error))?;
    // Everybody who can read the file can use the invitation.
    let file = private_file(path)?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&rows)).map_err(|error| unwritten(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_square_and_have_a_quiet_zone() {
        let text = drawn(&Modules::of("rune:abcdefgh").unwrap(), false);
        let first: Vec<char> = text.lines().next().unwrap().chars().collect();
        assert!(first.iter().all(|c| *c == ' '));
        assert_eq!(text.lines().count(), first.len().div_ceil(2));
        let file = tempfile::NamedTempFile::new().unwrap();
        png("rune:abcdefgh", file.path()).unwrap();
        assert!(std::fs::read(file.path()).unwrap().starts_with(b"\x89PNG"));
    }

    #[test]
    fn both_forms_show_the_code_module_by_module() {
        let words = "rune:abcdefgh";
        let modules = Modules::of(words).unwrap();
        let side = modules.side();
        let inner = |at: usize| (QUIET_ZONE..side - QUIET_ZONE).contains(&at);
        // The corner of a finder pattern: dark, then light.
        let zone = QUIET_ZONE;
        assert!(modules.is_dark(zone, zone) && modules.is_dark(zone + 6, zone + 6));
        assert!(!modules.is_dark(zone + 1, zone + 1) && !modules.is_dark(zone + 7, zone));
        for (x, y) in (0..side).flat_map(|y| (0..side).map(move |x| (x, y))) {
            assert!(!modules.is_dark(x, y) || (inner(x) && inner(y)), "the quiet zone is light");
        }
        let text = drawn(&modules, false);
        let coloured = drawn(&modules, true);
        for (line, coloured) in text.lines().zip(coloured.lines()) {
            assert_eq!(
                coloured,
                format!("{BLACK_ON_WHITE}{line}{PLAIN}"),
                "every line sets both colours and gives them back"
            );
        }
        for (row, line) in text.lines().enumerate() {
            for (x, shown) in line.chars().enumerate() {
                let dark = [2 * row, 2 * row + 1].map(|y| modules.is_dark(x, y));
                let expected = match dark {
                    [true, true] => '█',
                    [true, false] => '▀',
                    [false, true] => '▄',
                    [false, false] => ' ',
                };
                assert_eq!(shown, expected, "column {x} of line {row}");
            }
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        png(words, file.path()).unwrap();
        let mut reader = png::Decoder::new(std::io::BufReader::new(file.reopen().unwrap())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width as usize, info.height as usize), (side * SCALE, side * SCALE));
        for (x, y) in (0..side * SCALE).flat_map(|y| (0..side * SCALE).map(move |x| (x, y))) {
            let light = pixels[y * info.line_size + x / 8] >> (7 - x % 8) & 1 == 1;
            assert_eq!(light, !modules.is_dark(x / SCALE, y / SCALE), "pixel {x} {y}");
        }
    }
}
