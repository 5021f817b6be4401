//! Strict reading of public configurations: a key is honoured, known to be neutral, or `unsupported` by name.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Keys that every public configuration may carry and that never change the numbers.
const BOOKKEEPING: &[&str] = &[
    "architectures",
    "model_type",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "_name_or_path",
    "_class_name",
    "_diffusers_version",
];

/// Removes `key`, which must be absent, null, or equal to `expected`.
///
/// # Errors
/// `unsupported`, naming the key and both values.
pub fn require(map: &mut Map<String, Value>, key: &str, expected: impl Into<Value>) -> Result<()> {
    let expected = expected.into();
    match map.remove(key) {
        None | Some(Value::Null) => Ok(()),
        Some(value) if value == expected || (value.is_number() && value.as_f64() == expected.as_f64()) => Ok(()),
        Some(value) => {
            Err(Error::unsupported(format!("config key `{key}` = {value} is not supported, only {expected}")))
        }
    }
}

/// Folds transformers' two spellings of the rotary base into `rope_theta`.
///
/// # Errors
/// `unsupported` for any rope type but `default`.
pub fn take_rope_parameters(map: &mut Map<String, Value>) -> Result<()> {
    for key in ["rope_parameters", "rope_scaling"] {
        let Some(value) = map.remove(key) else { continue };
        let Value::Object(rope) = value else {
            if value.is_null() {
                continue;
            }
            return Err(Error::unsupported(format!("config key `{key}` = {value} is not supported")));
        };
        for (name, value) in rope {
            match (name.as_str(), &value) {
                ("rope_theta", Value::Number(_)) => {
                    map.insert("rope_theta".into(), value);
                }
                ("rope_type" | "type", Value::String(kind)) if kind == "default" => {}
                _ => return Err(Error::unsupported(format!("config key `{key}.{name}` = {value} is not supported"))),
            }
        }
    }
    Ok(())
}

/// Takes `pad_token_id` out of the configuration: the row of an embedding of `vocab_size` rows that gets no gradient
/// where it is read as an input (`torch.nn.Embedding`'s `padding_idx`; a negative one counts from the end).
///
/// # Errors
/// `unsupported` when it is no integer or outside the vocabulary.
pub fn take_padding_row(map: &mut Map<String, Value>) -> Result<Option<usize>> {
    let value = match map.remove("pad_token_id") {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let rows = map.get("vocab_size").and_then(Value::as_i64).unwrap_or(i64::MAX);
    let row = value.as_i64().map(|id| if id < 0 { id + rows } else { id });
    match row.filter(|row| (0..rows).contains(row)).and_then(|row| usize::try_from(row).ok()) {
        Some(row) => Ok(Some(row)),
        None => Err(Error::unsupported(format!("config key `pad_token_id` = {value} is not a row of the vocabulary"))),
    }
}

/// Deserializes what is left into `T`: every key is a field of `T`, in `neutral`, or bookkeeping.
///
/// # Errors
/// `unsupported`, naming the key that is unknown, missing or of the wrong type.
pub fn strict<T: DeserializeOwned>(architecture: &str, mut map: Map<String, Value>, neutral: &[&str]) -> Result<T> {
    map.retain(|key, value| {
        !value.is_null() && !BOOKKEEPING.contains(&key.as_str()) && !neutral.contains(&key.as_str())
    });
    let mut unread = Vec::new();
    let parsed = serde_ignored::deserialize(Value::Object(map), |path| unread.push(format!("`{path}`")))
        .map_err(|e| Error::unsupported(format!("{architecture}: configuration: {e}")))?;
    if unread.is_empty() {
        Ok(parsed)
    } else {
        Err(Error::unsupported(format!("{architecture}: config keys not supported: {}", unread.join(", "))))
    }
}

/// Checks that every id is in `0..limit`.
///
/// # Errors
/// `invalid_inputs`, naming the tensor, the first bad id and its flat position.
pub fn ids_within(name: &str, ids: &[i64], limit: usize) -> Result<()> {
    match ids.iter().position(|&id| usize::try_from(id).map_or(true, |id| id >= limit)) {
        None => Ok(()),
        Some(at) => Err(Error::invalid_inputs(format!("input `{name}`: id {} at {at} is outside 0..{limit}", ids[at]))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(padding: Value) -> Result<Option<usize>> {
        let mut map = Map::from_iter([("vocab_size".to_owned(), json!(7)), ("pad_token_id".to_owned(), padding)]);
        let row = take_padding_row(&mut map);
        assert!(!map.contains_key("pad_token_id"));
        row
    }

    #[test]
    fn a_padding_row_is_within_the_vocabulary_or_refused_by_name() {
        assert_eq!(row(json!(6)).unwrap(), Some(6));
        assert_eq!(row(json!(-1)).unwrap(), Some(6));
        assert_eq!(row(Value::Null).unwrap(), None);
        assert_eq!(take_padding_row(&mut Map::new()).unwrap(), None);
        for bad in [json!(7), json!(-8), json!("a"), json!(1.5)] {
            assert!(row(bad).unwrap_err().to_string().contains("pad_token_id"));
        }
    }
}
