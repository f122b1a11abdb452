//! Header blocks: names and values, compressed with a dictionary in one context for all blocks of a direction.

use std::collections::HashMap;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// Text with which the compression of both sides starts, as the draft has it.
static DICTIONARY: &[u8] = include_bytes!("dictionary.bin");
/// Longest block that is accepted. Blocks of Kubernetes' clients have less than 200 bytes.
const MAX_BLOCK: usize = 64 << 10;

/// Headers by their names, in lower case.
pub(super) type Headers = HashMap<String, String>;

/// Decoder of the blocks of one direction, in their order.
pub(super) struct Decoder(Decompress);

impl Decoder {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Returns the headers of a block; `None` if the block is damaged.
    pub(super) fn decode(&mut self, block: &[u8]) -> Option<Headers> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, block: &[u8]) -> Option<Vec<u8>> {
        let (mut text, mut rest, mut buffer) = (Vec::new(), block, vec![0; 4 << 10]);
        loop {
            let (read, written) = (self.0.total_in(), self.0.total_out());
            let result = self.0.decompress(rest, &mut buffer, FlushDecompress::Sync);
            let read = usize::try_from(self.0.total_in() - read).ok()?;
            let written = usize::try_from(self.0.total_out() - written).ok()?;
            rest = rest.get(read..)?;
            text.extend_from_slice(buffer.get(..written)?);
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(DICTIONARY).ok()?;
                    continue;
                }
                Err(_) => return None,
                Ok(_) => {}
            }
            if text.len() > MAX_BLOCK {
                return None;
            }
            // A full buffer may hide more text.
            if rest.is_empty() && written < buffer.len() {
                return Some(text);
            }
            if read == 0 && written == 0 {
                return None;
            }
        }
    }
}

fn parse(mut text: &[u8]) -> Option<Headers> {
    let count = number(&mut text)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = string(&mut text)?;
        headers.insert(name.to_lowercase(), string(&mut text)?);
    }
    Some(headers)
}

fn number(text: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = text.split_first_chunk::<4>()?;
    *text = rest;
    Some(u32::from_be_bytes(*bytes))
}

fn string(text: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(number(text)?).ok()?;
    let (bytes, rest) = text.split_at_checked(length)?;
    *text = rest;
    String::from_utf8(bytes.to_vec()).ok()
}

/// Encoder of the blocks of one direction, in their order.
pub(super) struct Encoder(Compress);

impl Encoder {
    /// Returns `None` if the compression library was built without dictionaries; the one used here has them.
    pub(super) fn new() -> Option<Self> {
        let mut compress = Compress::new(Compression::fast(), true);
        compress.set_dictionary(DICTIONARY).ok()?;
        Some(Self(compress))
    }

    /// Returns a block of headers.
    pub(super) fn encode(&mut self, headers: &Headers) -> Option<Vec<u8>> {
        let length = |text: &str| u32::try_from(text.len()).ok().map(u32::to_be_bytes);
        let mut text = u32::try_from(headers.len()).ok()?.to_be_bytes().to_vec();
        for part in headers.iter().flat_map(|(name, value)| [name, value]) {
            text.extend(length(part)?);
            text.extend(part.as_bytes());
        }
        let mut block = Vec::new();
        let mut rest = text.as_slice();
        loop {
            block.reserve(256);
            let (read, written) = (self.0.total_in(), block.len());
            self.0.compress_vec(rest, &mut block, FlushCompress::Sync).ok()?;
            rest = rest.get(usize::try_from(self.0.total_in() - read).ok()?..)?;
            // Free room in the buffer shows that everything has been written.
            if rest.is_empty() && block.len() < block.capacity() || block.len() == written {
                return Some(block);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// First two blocks of a port forwarding, as moby/spdystream 0.5.1 writes them.
    #[test]
    fn blocks_of_kubernetes_are_read() {
        let first =
            "78f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45e01c60616061c0c0c0c0590489c64c50f2663400000000ffff";
        let bytes = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let mut decoder = Decoder::new();
        for (block, kind) in [(first, "error"), ("c2aa19540e2512d60b000000ffff", "data")] {
            let headers = decoder.decode(&bytes(block)).unwrap();
            let seen = ["streamtype", "port", "requestid"].map(|name| headers[name].as_str());
            assert_eq!(seen, [kind, "8080", "0"]);
        }
    }

    #[test]
    fn blocks_go_there_and_back_in_one_context() {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new());
        let headers = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Headers>()
        };
        for pairs in [
            &[("streamtype", "error")][..],
            &[],
            &[("streamtype", "data"), ("port", "8080"), ("requestid", "0")],
            &[("streamtype", "data"), ("port", "8080"), ("requestid", "1")],
        ] {
            let block = encoder.encode(&headers(pairs)).unwrap();
            assert_eq!(decoder.decode(&block), Some(headers(pairs)));
        }
    }

    #[test]
    fn long_blocks_are_refused() {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new());
        let block = encoder.encode(&Headers::from([("a".into(), "b".repeat(MAX_BLOCK))])).unwrap();
        assert_eq!(decoder.decode(&block), None);
    }

    proptest! {
        #[test]
        fn no_block_breaks_the_reader(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..4)) {
            let mut decoder = Decoder::new();
            for block in blocks {
                let _ = decoder.decode(&block);
            }
        }

        #[test]
        fn any_headers_come_back(headers in prop::collection::hash_map("[a-z]{1,20}", ".{0,300}", 0..8)) {
            let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new());
            let block = encoder.encode(&headers).unwrap();
            prop_assert_eq!(decoder.decode(&block), Some(headers));
        }
    }
}
