//! The Metadata API's SOAP side: an operation goes out in an envelope that holds the session, a result or a fault comes back.

use reqwest::Method;

use super::xml::{Element, escape};
use crate::connection::Connection;
use crate::error::ClientError;
use crate::request::{Body, Request};

/// The operation in its envelope. Element names and the unprefixed payload are as jsforce sends them.
pub(crate) fn envelope(session: &str, operation: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Header xmlns=\"http://soap.sforce.com/2006/04/metadata\">\
         <SessionHeader><sessionId>{}</sessionId></SessionHeader></soapenv:Header>\
         <soapenv:Body xmlns=\"http://soap.sforce.com/2006/04/metadata\">{operation}</soapenv:Body></soapenv:Envelope>",
        escape(session)
    )
}

/// Code and message of a SOAP fault; `None` for anything else.
pub(crate) fn fault(body: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.contains("Envelope"))?;
    let envelope = Element::parse(text).ok()?;
    let fault = envelope.child("Body")?.child("Fault")?;
    let code = fault.at("faultcode")?.rsplit(':').next()?.to_owned();
    let text = fault.at("faultstring").unwrap_or_default();
    // The text begins with the code once more.
    let message = text.strip_prefix(&code).map_or(text, |rest| rest.trim_start_matches(':').trim_start());
    Some((code, message.to_owned()))
}

impl Connection {
    /// Calls an operation and answers the response element. Whether it may be repeated is for the caller to say.
    pub(super) async fn soap(&self, operation: &str, idempotent: bool) -> Result<Element, ClientError> {
        let name = operation.trim_start_matches('<').split(['>', '/']).next().unwrap_or_default().to_owned();
        let path = format!("/services/Soap/m/{}", self.api_version());
        let body = Body::MetadataSoap(operation.to_owned());
        let request = Request::new(Method::POST, path).with_body(body).repeatable(idempotent);
        let reply = self.send(&request).await?;
        let unreadable = |reason: String| {
            let (org, what) = (self.org().to_owned(), name.clone());
            ClientError::Unreadable { org, what, reason, outcome_unknown: !idempotent }
        };
        let text = std::str::from_utf8(&reply.body).map_err(|e| unreadable(e.to_string()))?;
        let envelope = Element::parse(text).map_err(unreadable)?;
        let body = envelope.children.into_iter().find(|child| child.name == "Body");
        body.and_then(|body| body.children.into_iter().next())
            .filter(|response| response.name == format!("{name}Response"))
            .ok_or_else(|| unreadable("it holds no response".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_from_other_bodies() {
        let body = br#"<?xml version="1.0"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:sf="x"><soapenv:Body><soapenv:Fault><faultcode>sf:INSUFFICIENT_ACCESS</faultcode><faultstring>INSUFFICIENT_ACCESS: use of the Metadata API requires more</faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>"#;
        let (code, message) = fault(body).unwrap();
        assert_eq!((code.as_str(), message.as_str()), ("INSUFFICIENT_ACCESS", "use of the Metadata API requires more"));
        assert!(fault(b"[]").is_none() && fault(b"<html>Envelope</html>").is_none());
    }

    #[test]
    fn a_session_cannot_break_out_of_the_envelope() {
        let xml = envelope("a</sessionId>&", "<describeMetadata/>");
        let header = Element::parse(&xml).unwrap();
        assert_eq!(header.at("Header/SessionHeader/sessionId"), Some("a</sessionId>&"));
    }
}
