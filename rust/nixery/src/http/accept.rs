//! Choosing the format of a manifest.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use crate::oci::Format;

/// The format that the client likes best: of those with the highest weight, the
/// one it names first (RFC 9110, 12.5.1).
///
/// A client that names neither gets the OCI format, whatever it says it accepts:
/// registries have always answered so, and some clients send types that no
/// registry has.
pub(super) fn choose(headers: &HeaderMap) -> Format {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut best: Option<(Format, u16)> = None;
    for item in values.flat_map(|value| value.split(',')) {
        let mut parameters = item.split(';').map(str::trim);
        let media_type = parameters.next().unwrap_or_default();
        let Some(format) = Format::of_manifest_type(media_type) else { continue };
        let weight = parameters.find_map(weight).unwrap_or(1000);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((format, weight));
        }
    }
    best.map_or(Format::Oci, |(format, _)| format)
}

/// Whether the client names a media type, as one of those that it likes.
pub(super) fn names(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = values.flat_map(|value| value.split([',', ';'])).map(str::trim);
    types.any(|named| named.eq_ignore_ascii_case(media_type))
}

/// `q=0.5` in thousandths; malformed weights count as none.
fn weight(parameter: &str) -> Option<u16> {
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if !value.bytes().all(|c| c.is_ascii_digit() || c == b'.') {
        return None;
    }
    let fraction = fraction.get(..3.min(fraction.len()))?;
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    Some((whole.parse::<u16>().ok()?.min(1) * 1000 + thousandths).min(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

    fn chosen(values: &[&str]) -> Format {
        let accept = values.iter().map(|value| (ACCEPT, value.parse().unwrap()));
        choose(&accept.collect())
    }

    #[test]
    fn the_client_chooses() {
        for (accept, format) in [
            (vec![], Format::Oci),
            (vec!["*/*"], Format::Oci),
            (vec![DOCKER], Format::Docker),
            (vec![OCI], Format::Oci),
            (vec![&format!("{DOCKER}, {OCI}")[..]], Format::Docker),
            (vec![OCI, DOCKER], Format::Oci),
            (vec!["application/json", DOCKER, "*/*"], Format::Docker),
            (vec![&format!("{OCI};q=0.5, {DOCKER};q=0.9")[..]], Format::Docker),
            (vec![&format!("{OCI};q=0, {DOCKER};q=0.001")[..]], Format::Docker),
            (vec![&format!("{OCI};q=x, {DOCKER}")[..]], Format::Oci),
            // A sign is malformed too; it was read as a part of the number.
            (vec![&format!("{OCI};q=0.+1, {DOCKER};q=0.9")[..]], Format::Oci),
            (vec!["application/vnd.oci.image.index.v1+json"], Format::Oci),
        ] {
            assert_eq!(chosen(&accept), format, "{accept:?}");
        }
    }

    /// Against a second reading of RFC 9110, 12.4.2 and 12.5.1, of what is well-formed.
    #[test]
    fn fuzzed() {
        let item = regex::Regex::new(
            r"(?x-u)\A [\ \t]* ([!-+\--:<-~]+) [\ \t]*
              (?: ; [\ \t]* [qQ] = ( 0(?:\.[0-9]{0,3})? | 1(?:\.0{0,3})? ) [\ \t]* )? \z",
        )
        .unwrap();
        let seeds = [
            OCI.to_owned(),
            format!("{OCI};q=0.5, {DOCKER};q=0.9"),
            format!("{DOCKER}, {OCI};q=0.001, */*;q=0.8"),
            format!("{OCI};q=1.000,{DOCKER};q=1"),
            format!("{OCI};q=0, {DOCKER};q=0"),
            "text/event-stream".to_owned(),
        ];
        let words = [OCI, DOCKER, "*/*", ";q=", ";q=0.", ";q=1.", "+", ", "];
        crate::fuzz::parser("Accept", seeds).words(words).factor(32).run(
            |input| {
                let headers: HeaderMap =
                    [(ACCEPT, axum::http::HeaderValue::from_bytes(input).ok()?)]
                        .into_iter()
                        .collect();
                let format = choose(&headers);
                let _ = names(&headers, "text/event-stream");
                Some(format)
            },
            |input, parsed| {
                let Some(format) = parsed else { return };
                let Ok(text) = std::str::from_utf8(input) else { return };
                let items: Option<Vec<_>> =
                    text.split(',').map(|text| item.captures(text)).collect();
                let Some(items) = items else { return };
                let weight = |text: &str| (text.parse::<f64>().unwrap() * 1000.0).round();
                let best = |wanted: &str| {
                    let of_type = |(index, item): (usize, &regex::Captures<'_>)| {
                        let is_it = item[1].eq_ignore_ascii_case(wanted);
                        let weight = item.get(2).map_or(1000.0, |text| weight(text.as_str()));
                        (is_it && weight > 0.0).then_some((weight, usize::MAX - index))
                    };
                    items
                        .iter()
                        .enumerate()
                        .filter_map(of_type)
                        .max_by(|a, b| a.partial_cmp(b).unwrap())
                };
                let expected = match (best(OCI), best(DOCKER)) {
                    (None, Some(_)) => Format::Docker,
                    (Some(oci), Some(docker)) if docker > oci => Format::Docker,
                    _ => Format::Oci,
                };
                assert_eq!(format, expected);
            },
        );
    }
}
