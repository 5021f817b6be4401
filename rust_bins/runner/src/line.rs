//! Lines of bounded length.

use std::io::{self, BufRead};

/// The longest line that is read, without its newline: 1 MiB.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// What the next line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// It is in the buffer.
    Whole,
    /// It is longer than [`MAX_LINE_BYTES`] and was skipped.
    TooLong,
    /// There is none.
    End,
}

/// Reads the next line into `line` (cleared first), without its newline; a last line without one counts.
///
/// # Errors
/// When reading fails.
pub fn read(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let (mut any, mut too_long) = (false, false);
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if available.is_empty() {
            break;
        }
        any = true;
        let newline = available.iter().position(|&byte| byte == b'\n');
        let part = &available[..newline.unwrap_or(available.len())];
        too_long = too_long || line.len() + part.len() > MAX_LINE_BYTES;
        if !too_long {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(newline.is_some());
        input.consume(used);
        if newline.is_some() {
            break;
        }
    }
    Ok(if !any {
        Line::End
    } else if too_long {
        Line::TooLong
    } else {
        Line::Whole
    })
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_span_buffers_and_empty_ones_count() {
        let mut input = BufReader::with_capacity(3, &b"abcdefg\n\nlast"[..]);
        let mut line = Vec::new();
        for expected in [&b"abcdefg"[..], b"", b"last"] {
            assert_eq!(read(&mut input, &mut line).unwrap(), Line::Whole);
            assert_eq!(line, expected);
        }
        assert_eq!(read(&mut input, &mut line).unwrap(), Line::End);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_whole() {
        let long = [vec![b'x'; MAX_LINE_BYTES + 1], b"\nnext\n".to_vec()].concat();
        let mut input = BufReader::new(&long[..]);
        let mut line = Vec::new();
        assert_eq!(read(&mut input, &mut line).unwrap(), Line::TooLong);
        assert_eq!(read(&mut input, &mut line).unwrap(), Line::Whole);
        assert_eq!(line, b"next");
    }
}
