//! Invitations out of pictures: a PNG in which there is a QR code, as a screenshot or as `--png` writes one.
//!
//! A picture may come from anybody. Its size is bounded before it is unpacked, and the search for codes has a thread and a
//! deadline of its own, because the work that it is grows with what looks like a code.

use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::base::limits::{KIB, MIB};
use crate::control::{Code, Failure};
use crate::daemon::look;

/// The most bytes of a file: more than the screenshot of a large screen has.
const FILE: usize = 32 * MIB;
/// The most pixels of a picture: a screen of 5120 × 2880 has fewer.
const PIXELS: usize = 16 * KIB * KIB;
/// The most pixels of a side. Products of two of them, which the search forms, fit into 32 bits.
const SIDE: usize = 8 * KIB;
/// How long the search for codes may take. An ordinary picture takes a second at most.
const SEARCH: Duration = Duration::from_secs(30);

const TOO_LARGE: &str = "the picture has too many pixels; cut the code out of it, or make the picture smaller";

/// A picture in shades of grey, 0 is black.
#[derive(Debug, Clone)]
struct Grey {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// The invitation in the QR code of a picture; `-` reads standard input.
///
/// # Errors
/// Where the file cannot be read, is no PNG or too large, or has no invitation in it, or several.
pub(in crate::cli) fn invitation(path: &Path) -> Result<String, Failure> {
    let from_stdin = path == Path::new("-");
    let name = if from_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let refused = |why: String| Failure::new(Code::Usage, format!("{name}: {why}"));
    let bytes = if from_stdin { bounded(std::io::stdin().lock()) } else { std::fs::File::open(path).and_then(bounded) };
    let bytes = bytes.map_err(|error| Failure::new(Code::Failed, format!("cannot read {name}: {error}")))?;
    if bytes.len() > FILE {
        return Err(refused(format!("a picture may have {} MiB at most; cut the code out of it", FILE / MIB)));
    }
    let texts = searched(unpacked(&bytes).map_err(refused)?, SEARCH).map_err(refused)?;
    chosen(texts).map_err(refused)
}

/// The bytes, up to one more than a file may have.
fn bounded(input: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The one text that is an invitation.
fn chosen(mut texts: Vec<String>) -> Result<String, String> {
    texts.sort();
    texts.dedup();
    if texts.is_empty() {
        return Err("there is no QR code in this picture that can be read; take a sharper or larger one".to_owned());
    }
    let mut why = "it would begin with rune: or rune-box:".to_owned();
    texts.retain(|text| {
        let looked = look(text);
        if let Err(failure) = &looked
            && text.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case("rune"))
        {
            why = failure.to_string();
        }
        looked.is_ok()
    });
    match texts.len() {
        0 => Err(format!("the QR code in this picture is no invitation: {why}")),
        1 => Ok(texts.remove(0)),
        count => Err(format!("there are {count} invitations in this picture; cut out the one that you mean")),
    }
}

/// The pixels of a PNG.
fn unpacked(bytes: &[u8]) -> Result<Grey, String> {
    if !bytes.starts_with(b"\x89PNG") {
        return Err("this is no PNG; take a screenshot of the code, or save the picture as PNG".to_owned());
    }
    let damaged = |error: png::DecodingError| match error {
        png::DecodingError::LimitsExceeded => TOO_LARGE.to_owned(),
        error => format!("the picture cannot be read: {error}"),
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: 4 * PIXELS });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let side = |length: u32| usize::try_from(length).unwrap_or(usize::MAX);
    let (width, height) = (side(reader.info().width), side(reader.info().height));
    if width > SIDE || height > SIDE || width.saturating_mul(height) > PIXELS {
        return Err(TOO_LARGE.to_owned());
    }
    let size = reader.output_buffer_size().filter(|size| *size <= 4 * PIXELS).ok_or(TOO_LARGE)?;
    let mut raw = vec![0; size];
    let frame = reader.next_frame(&mut raw).map_err(damaged)?;
    let samples = frame.color_type.samples();
    let shade = |pixel: &[u8]| match *pixel {
        [grey] => grey,
        [grey, alpha] => on_white(grey, alpha),
        [red, green, blue] => luminance(red, green, blue),
        [red, green, blue, alpha] => on_white(luminance(red, green, blue), alpha),
        _ => u8::MAX,
    };
    let rows = raw.chunks_exact(frame.line_size.max(1)).take(height);
    let pixels: Vec<u8> = rows.flat_map(|row| row.chunks_exact(samples).take(width).map(shade)).collect();
    if pixels.len() != width * height || pixels.is_empty() {
        return Err("the picture cannot be read: it is cut off".to_owned());
    }
    Ok(Grey { width, height, pixels })
}

/// Rec. 601, in whole numbers.
fn luminance(red: u8, green: u8, blue: u8) -> u8 {
    let sum = 77 * u32::from(red) + 150 * u32::from(green) + 29 * u32::from(blue);
    u8::try_from(sum / 256).unwrap_or(u8::MAX)
}

/// What is transparent is seen on white, as a viewer shows it.
fn on_white(shade: u8, alpha: u8) -> u8 {
    let sum = u32::from(shade) * u32::from(alpha) + 255 * (255 - u32::from(alpha));
    u8::try_from(sum / 255).unwrap_or(u8::MAX)
}

/// The texts of all codes in a picture.
///
/// # Errors
/// Where the search takes too long, or fails at what it was given.
fn searched(picture: Grey, time: Duration) -> Result<Vec<String>, String> {
    let (told, heard) = mpsc::channel();
    // The end of the program ends the thread as well.
    thread::spawn(move || told.send(codes(picture)));
    heard.recv_timeout(time).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => {
            format!("no QR code was found within {} s; cut the code out of the picture", time.as_secs())
        }
        mpsc::RecvTimeoutError::Disconnected => "the picture cannot be searched for a QR code".to_owned(),
    })
}

/// Codes are dark on light; a terminal with light letters on a dark ground shows them the other way round.
fn codes(mut picture: Grey) -> Vec<String> {
    let found = read(&picture);
    if !found.is_empty() {
        return found;
    }
    for shade in &mut picture.pixels {
        *shade = u8::MAX - *shade;
    }
    read(&picture)
}

fn read(picture: &Grey) -> Vec<String> {
    let shade = |x: usize, y: usize| picture.pixels.get(y * picture.width + x).copied().unwrap_or(u8::MAX);
    let mut prepared = rqrr::PreparedImage::prepare_from_greyscale(picture.width, picture.height, shade);
    prepared.detect_grids().iter().filter_map(|grid| grid.decode().ok()).map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Modules, QUIET_ZONE, drawn, png};
    use super::*;

    /// Two invitations, of the vectors of the protocol.
    const TEXTS: [&str; 2] = [
        concat!(
            "rune:aebqgaydambqgaydambqgaydambqgalbydambqgaydambqgaydambqga5fuws246ljnfuws2ljnfuws2ljnfuws2ljnfuwg",
            "fs2ljnfuws2ljnfuuhgqzlmobsgk43loof5qwy2ldmudqobyha4dqobyha4dqobgbyha4dqab5bebo4cnfc24",
        ),
        concat!(
            "rune:aebqhiihx7z44ef6dvyn2ghhjpajszv67e2yyjxjinl4o5zbtecjktdobaeercs4gjbfeytsqkjkfmwc2lrpgaytemzugu",
            "qp3doobzhi5typj6h4cwc3djmnsuaqkc45incekrshjbeuus2mjvhe6aahtsmctppnytyujf",
        ),
    ];

    fn grey(text: &str) -> Grey {
        let file = tempfile::NamedTempFile::new().unwrap();
        png(text, file.path()).unwrap();
        unpacked(&std::fs::read(file.path()).unwrap()).unwrap()
    }

    fn inverted(mut picture: Grey) -> Grey {
        picture.pixels.iter_mut().for_each(|shade| *shade = 255 - *shade);
        picture
    }

    /// The picture of a terminal that shows this text: a character is a square above another one.
    fn photographed(text: &str, scale: usize) -> Grey {
        let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        let (width, height) = (lines[0].len() * scale, lines.len() * 2 * scale);
        let pixel = |at: usize| {
            let (x, y) = (at % width / scale, at / width / scale);
            match (lines[y / 2][x], y % 2) {
                ('█', _) | ('▀', 0) | ('▄', 1) => 0,
                _ => 255,
            }
        };
        Grey { width, height, pixels: (0..width * height).map(pixel).collect() }
    }

    fn beside(left: &Grey, right: &Grey) -> Grey {
        let (width, height) = (left.width + right.width, left.height.max(right.height));
        let pixel = |at: usize| {
            let (x, y) = (at % width, at / width);
            let (half, x) = if x < left.width { (left, x) } else { (right, x - left.width) };
            if y < half.height { half.pixels[y * half.width + x] } else { 255 }
        };
        Grey { width, height, pixels: (0..width * height).map(pixel).collect() }
    }

    fn found(picture: Grey) -> Result<String, String> {
        chosen(searched(picture, SEARCH).unwrap())
    }

    fn encoded(picture: &Grey, color: ::png::ColorType, pixel: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let side = |length: usize| u32::try_from(length).unwrap();
        let mut encoder = ::png::Encoder::new(&mut bytes, side(picture.width), side(picture.height));
        encoder.set_color(color);
        encoder.set_depth(::png::BitDepth::Eight);
        let pixels: Vec<u8> = picture.pixels.iter().flat_map(|shade| pixel(*shade)).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        bytes
    }

    #[test]
    fn a_code_of_ours_is_read_again_also_where_light_and_dark_are_swapped() {
        let to_box = crate::mail::Invitation::parse(TEXTS[0]).unwrap().encode_box();
        assert!(to_box.starts_with("rune-box:"));
        for text in TEXTS.iter().copied().chain([to_box.as_str()]) {
            let upper = Ok(text.to_ascii_uppercase());
            assert_eq!(found(grey(text)), upper);
            assert_eq!(found(inverted(grey(text))), upper);
        }
    }

    #[test]
    fn what_the_terminal_shows_is_read_from_its_picture() {
        for (text, scale) in TEXTS.iter().flat_map(|text| [(text, 3), (text, 8), (text, 11)]) {
            let shown = photographed(&drawn(&Modules::of(text).unwrap(), false), scale);
            let upper = Ok(text.to_ascii_uppercase());
            assert_eq!(found(shown.clone()), upper, "{scale}");
            assert_eq!(found(inverted(shown)), upper, "letters of that colour on a dark ground, {scale}");
        }
    }

    #[test]
    fn colours_and_transparency_are_read_as_they_are_seen() {
        let picture = grey(TEXTS[0]);
        let upper = Ok(TEXTS[0].to_ascii_uppercase());
        let blue = encoded(&picture, ::png::ColorType::Rgb, |shade| vec![shade, shade, shade.max(0x80)]);
        // All is black; the light modules are not there at all.
        let glass = encoded(&picture, ::png::ColorType::Rgba, |shade| vec![0, 0, 0, 255 - shade]);
        let both = encoded(&picture, ::png::ColorType::GrayscaleAlpha, |shade| vec![0, 255 - shade]);
        for bytes in [blue, glass, both] {
            assert_eq!(found(unpacked(&bytes).unwrap()), upper);
        }
    }

    #[test]
    fn a_picture_with_no_code_several_or_another_code_is_told_as_such() {
        let blank = Grey { width: 300, height: 200, pixels: vec![255; 60_000] };
        assert!(found(blank).unwrap_err().contains("no QR code"));
        let noise =
            Grey { width: 256, height: 256, pixels: (0..65_536_u32).map(|at| ((at * at) >> 7) as u8).collect() };
        assert!(found(noise).unwrap_err().contains("no QR code"));
        let page = grey("https://example.org/a-page-with-a-name-of-some-length");
        assert!(found(page.clone()).unwrap_err().contains("is no invitation: it would begin with rune:"));
        let cut = grey(TEXTS[0].split_at(100).0);
        assert!(found(cut).unwrap_err().contains("is no invitation: the invitation is cut off"));
        let both = beside(&grey(TEXTS[0]), &grey(TEXTS[1]));
        assert!(found(both).unwrap_err().contains("2 invitations"));
        let twice = beside(&grey(TEXTS[0]), &grey(TEXTS[0]));
        assert_eq!(found(twice), Ok(TEXTS[0].to_ascii_uppercase()), "the same one twice is one");
        let with_page = beside(&page, &grey(TEXTS[0]));
        assert_eq!(found(with_page), Ok(TEXTS[0].to_ascii_uppercase()), "and the other code is none");
        let half = grey(TEXTS[0]);
        let rows = half.height / 2;
        let cut = Grey { height: rows, pixels: half.pixels[..half.width * rows].to_vec(), ..half };
        assert!(found(cut).unwrap_err().contains("no QR code"));
    }

    #[test]
    fn what_is_no_picture_or_too_large_is_refused_before_it_is_unpacked() {
        assert!(unpacked(b"\xff\xd8\xff\xe0 JFIF").unwrap_err().contains("no PNG"));
        assert!(unpacked(b"").is_err() && unpacked(b"\x89PNG\r\n\x1a\n").is_err());
        let blank = Grey { width: 64, height: 64, pixels: vec![255; 4096] };
        let whole = encoded(&blank, ::png::ColorType::Grayscale, |shade| vec![shade]);
        for end in 0..whole.len() - 12 {
            assert!(unpacked(&whole[..end]).is_err(), "{end}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            // Whatever it is now, it is read or refused.
            let _ = unpacked(&changed);
        }
        // The header alone says so; behind it there is next to nothing.
        let claims = |width: u32, height: u32| {
            let mut bytes = Vec::new();
            let mut encoder = ::png::Encoder::new(&mut bytes, width, height);
            encoder.set_color(::png::ColorType::Grayscale);
            let mut writer = encoder.write_header().unwrap();
            writer.write_chunk(::png::chunk::IDAT, &[0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]).unwrap();
            drop(writer);
            unpacked(&bytes).unwrap_err()
        };
        for (width, height) in [(1_000_000, 1_000_000), (4097, 4097), (8193, 1), (1, 8193), (u32::MAX >> 1, 1)] {
            let why = claims(width, height);
            assert!(why.contains("too many pixels"), "{width} {height}: {why}");
        }
        assert!(!claims(4096, 4096).contains("too many pixels"));
    }

    #[test]
    fn a_picture_full_of_corners_ends_the_search_in_time() {
        // The corner of a code, again and again: the search pairs them.
        let modules = Modules::of(TEXTS[0]).unwrap();
        let side = 9;
        let (width, height) = (side * 16, side * 16);
        let pixel = |at: usize| {
            let (x, y) = (at % width % side, at / width % side);
            if modules.is_dark(QUIET_ZONE + x.wrapping_sub(1).min(7), QUIET_ZONE + y.wrapping_sub(1).min(7)) {
                0
            } else {
                255
            }
        };
        let corners = Grey { width, height, pixels: (0..width * height).map(pixel).collect() };
        let begun = std::time::Instant::now();
        // Whether it finds nothing or has to stop, it does not take much longer.
        let time = Duration::from_millis(200);
        assert!(searched(corners, time).map_or(true, |texts| texts.is_empty()));
        assert!(begun.elapsed() < time + Duration::from_secs(5));
    }
}
