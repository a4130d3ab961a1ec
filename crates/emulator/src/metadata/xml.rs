//! XML as small trees, which is all that metadata files and SOAP envelopes need. Elements go by their local names: every
//! client has prefixes of its own.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// An element.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// `xsi:type`, without a prefix.
    pub(crate) kind: Option<String>,
    pub(crate) text: String,
    pub(crate) children: Vec<Node>,
}

/// Deeper than any metadata file, and shallow enough for the stack.
const DEPTH: usize = 64;

impl Node {
    /// The document's root element, or what is wrong with the document.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Node, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let mut open: Vec<Node> = vec![Node::default()];
        loop {
            let event = reader.read_event().map_err(|e| e.to_string())?;
            let top = open.len() - 1;
            match event {
                Event::Start(_) if open.len() > DEPTH => return Err("elements are nested too deeply".to_owned()),
                Event::Start(start) => open.push(Node::begun(&start)),
                Event::Empty(start) => open[top].children.push(Node::begun(&start)),
                Event::End(_) => {
                    let node = open.pop().unwrap_or_default();
                    open.last_mut().ok_or("an end without a beginning")?.children.push(node);
                }
                Event::Text(text) => open[top].text.push_str(&text.xml10_content()),
                Event::CData(text) => open[top].text.push_str(&text),
                Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|e| e.to_string())? {
                    Some(character) => open[top].text.push(character),
                    None => {
                        let known = quick_xml::escape::resolve_predefined_entity(&reference);
                        open[top]
                            .text
                            .push_str(known.ok_or_else(|| format!("the entity `{}` is not known", &*reference))?);
                    }
                },
                Event::Eof => break,
                _ => {}
            }
        }
        let mut document = open.pop().filter(|_| open.is_empty()).ok_or("an element is not closed")?;
        document
            .children
            .pop()
            .filter(|_| document.children.is_empty())
            .ok_or_else(|| "it has no root element".to_owned())
    }

    fn begun(start: &BytesStart<'_>) -> Node {
        let name = start.local_name().as_ref().to_owned();
        let kind = start.attributes().flatten().find(|a| a.key.local_name().as_ref() == "type");
        let kind = kind.and_then(|a| a.value.rsplit(':').next().map(str::to_owned));
        Node { name, kind, ..Node::default() }
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of a child, without the space around it; empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.trim())
    }

    /// Clients write booleans in any case.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).eq_ignore_ascii_case("true")
    }

    pub(crate) fn flag_or(&self, name: &str, default: bool) -> bool {
        if self.get(name).is_empty() { default } else { self.flag(name) }
    }

    /// The children as XML, without the element itself.
    pub(crate) fn inner(&self) -> String {
        let mut out = String::new();
        for child in &self.children {
            child.write(&mut out);
        }
        out
    }

    fn write(&self, out: &mut String) {
        let text = if self.children.is_empty() { escape(&self.text) } else { self.inner() };
        out.push_str(&element_raw(&self.name, &text));
    }

    /// As a metadata file: the type is the root element.
    pub(crate) fn file(&self, type_name: &str) -> Vec<u8> {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{type_name} xmlns=\"http://soap.sforce.com/2006/04/metadata\">{}</{type_name}>\n",
            self.inner()
        )
        .into_bytes()
    }
}

pub(crate) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

/// `<name>text</name>`, with the text escaped.
pub(crate) fn element(name: &str, text: impl std::fmt::Display) -> String {
    element_raw(name, &escape(&text.to_string()))
}

/// `<name>xml</name>`.
pub(crate) fn element_raw(name: &str, xml: &str) -> String {
    format!("<{name}>{xml}</{name}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_entities_and_stray_text_are_read_as_real_clients_send_them() {
        let text = r#"<?xml version="1.0"?><soapenv:Envelope xmlns:soapenv="x"><soapenv:Body>None<met:deploy>
            <met:ZipFile>QUJD</met:ZipFile><a xsi:type="met:ConnectedApp"><label>A &amp; B &#38; &lt;C&gt;</label></a><b/>
            </met:deploy></soapenv:Body></soapenv:Envelope>"#;
        let root = Node::parse(text.as_bytes()).unwrap();
        let deploy = &root.children[0].children[0];
        assert_eq!((deploy.name.as_str(), deploy.get("ZipFile")), ("deploy", "QUJD"));
        let app = deploy.child("a").unwrap();
        assert_eq!((app.kind.as_deref(), app.get("label")), (Some("ConnectedApp"), "A & B & <C>"));
        assert_eq!(app.inner(), "<label>A &amp; B &amp; &lt;C&gt;</label>");
        for broken in ["", "<a>", "<a></b>", "text", "<a>&nothing;</a>"] {
            assert!(Node::parse(broken.as_bytes()).is_err(), "{broken}");
        }
        assert!(Node::parse("<a>".repeat(100_000).as_bytes()).is_err(), "not the end of the stack");
    }
}
