//! What the Metadata API answers, as a tree that is only read.

use quick_xml::Reader;
use quick_xml::events::Event;

/// An XML element by its local name: namespaces do not matter in what Salesforce answers.
///
/// ```
/// use tieline_client::metadata::Element;
/// let app = Element::parse("<ConnectedApp><oauthConfig><consumerKey>3MVG9</consumerKey></oauthConfig></ConnectedApp>").unwrap();
/// assert_eq!(app.at("oauthConfig/consumerKey"), Some("3MVG9"));
/// assert_eq!(app.at("label"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name, without a prefix.
    pub name: String,
    /// Its text, without the space around it.
    pub text: String,
    /// The elements inside, in order.
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document's root element.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        // The elements that are open, the document itself first.
        let mut path = vec![Element::default()];
        let add = |path: &mut Vec<Element>, text: &str| {
            if let Some(last) = path.last_mut() {
                last.text.push_str(text);
            }
        };
        loop {
            match reader.read_event().map_err(|e| e.to_string())? {
                Event::Start(start) => {
                    path.push(Element { name: start.local_name().as_ref().to_owned(), ..Element::default() });
                }
                Event::Empty(start) => {
                    let element = Element { name: start.local_name().as_ref().to_owned(), ..Element::default() };
                    path.last_mut().ok_or("an element outside of the document")?.children.push(element);
                }
                Event::End(_) => {
                    let mut element = path.pop().ok_or("an end without a beginning")?;
                    element.text = element.text.trim().to_owned();
                    path.last_mut().ok_or("an end without a beginning")?.children.push(element);
                }
                Event::Text(text) => add(&mut path, &text.xml10_content()),
                Event::CData(text) => add(&mut path, &text),
                Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|e| e.to_string())? {
                    Some(character) => add(&mut path, character.encode_utf8(&mut [0; 4])),
                    None => {
                        let text = quick_xml::escape::resolve_predefined_entity(&reference);
                        add(&mut path, text.ok_or_else(|| format!("`&{};` is not XML", &*reference))?);
                    }
                },
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        match path.as_mut_slice() {
            [document] if document.children.len() == 1 => Ok(document.children.remove(0)),
            _ => Err("it is not one whole element".to_owned()),
        }
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text at a path such as `oauthConfig/consumerKey`; `None` where there is nothing.
    pub fn at(&self, path: &str) -> Option<&str> {
        let found = path.split('/').try_fold(self, |element, name| element.child(name))?;
        Some(found.text.as_str()).filter(|text| !text.is_empty())
    }

    /// True if the text at the path is `true`.
    pub fn flag(&self, path: &str) -> bool {
        self.at(path).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }
}

/// Text as it may stand inside an element.
pub(crate) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}
