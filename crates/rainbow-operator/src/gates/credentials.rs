//! Credentials and certificates of a request, read from the Rainbow's namespace.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use rainbow_api::{GateAuthentication, GateTls, ValueSource};

use super::{
    answer::Question,
    http::{Tls, add_header},
    tls,
    values::{self, Secrets, Text},
};

/// Adds the credentials to the headers.
pub(super) async fn authenticate(
    question: &Question<'_>,
    authentication: Option<&GateAuthentication>,
    headers: &mut HeaderMap,
    secrets: &mut Secrets,
) -> Result<(), String> {
    let Some(authentication) = authentication else { return Ok(()) };
    if let Some(source) = &authentication.bearer {
        let token = noted(question, source, secrets).await?;
        return add_header(headers, "authorization", &format!("Bearer {}", token.value.trim()));
    }
    if let Some(basic) = &authentication.basic {
        let password = noted(question, &basic.password, secrets).await?;
        let pair = STANDARD.encode(format!("{}:{}", basic.username, password.value.trim_end_matches(['\r', '\n'])));
        secrets.note(&Text { value: pair.clone(), is_secret: password.is_secret });
        return add_header(headers, "authorization", &format!("Basic {pair}"));
    }
    Ok(())
}

/// Returns the settings of TLS.
pub(super) async fn tls(question: &Question<'_>, settings: Option<&GateTls>) -> Result<Tls, String> {
    let ca = match settings.and_then(|settings| settings.ca.as_ref()) {
        Some(source) => Some(values::read(question.client, &question.place.namespace, source).await?),
        None => None,
    };
    let config = tls::config(ca.as_ref().map(|ca| ca.value.as_str()))?;
    Ok(Tls { config, server_name: settings.and_then(|settings| settings.server_name.clone()) })
}

/// Reads a value, which people must not see if it is from a Secret.
pub(super) async fn noted(
    question: &Question<'_>,
    source: &ValueSource,
    secrets: &mut Secrets,
) -> Result<Text, String> {
    let text = values::read(question.client, &question.place.namespace, source).await?;
    secrets.note(&text);
    Ok(text)
}
