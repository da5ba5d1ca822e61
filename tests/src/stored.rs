//! Checks what a reader of the database can see in stored bodies.

/// Maximum size of an unpacked body that is searched.
const BODY_MAX: usize = 4 << 20;

/// Whether a reader without the envelope key finds a word in a stored body, as it is or unpacked.
pub fn is_readable(body: &[u8], word: &str) -> bool {
    let holds = |bytes: &[u8]| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    // Sealed bodies are no zstd frames and cannot be unpacked.
    holds(body) || zstd::bulk::decompress(body, BODY_MAX).is_ok_and(|plain| holds(&plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_through_compression() {
        let plain = br#"{"password":"hidden-word","user":"hidden-user","host":"hidden-host"}"#;
        let packed = zstd::bulk::compress(plain, 3).unwrap();
        for (case, body, readable) in [
            ("as it is", plain.to_vec(), true),
            ("compressed", packed.clone(), true),
            ("compressed and changed, as sealing does", packed.iter().map(|byte| byte ^ 0x5a).collect(), false),
            ("another content", zstd::bulk::compress(b"nothing to hide", 3).unwrap(), false),
        ] {
            assert_eq!(is_readable(&body, "hidden-word"), readable, "{case}");
        }
    }
}
