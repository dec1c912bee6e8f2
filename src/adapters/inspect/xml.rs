//! Reads one part of a workbook as a stream of XML nodes: no DTD, no entities but the predefined ones, bounded in
//! the length of a node and in depth, and complete only when every element was closed.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use quick_xml::Reader;
use quick_xml::escape::{resolve_predefined_entity, unescape};
use quick_xml::events::{BytesEnd, BytesRef, BytesStart, Event};

use super::error::InspectError;
use super::meter::Meter;
use super::rows::MAX_ROW;

/// Deeper than any part of a workbook goes, and longer than the name of any element in it, in bytes: the names of all
/// open elements are held in memory.
const MAX_DEPTH: usize = 64;
const MAX_NAME: usize = 1024;

/// What comes next in a part. Names are without their namespace prefix: workbooks of several makers differ in it.
pub(super) enum Node<'a> {
    /// An element begins. An empty element begins and ends.
    Start(Element<'a>),
    /// An element ends.
    End(EndTag<'a>),
    /// Text, with references resolved and line ends as XML has them; one text may come in pieces.
    Text(Cow<'a, str>),
    /// A comment or the like.
    Other,
    /// The part has ended.
    Eof,
}

/// The beginning of an element.
pub(super) struct Element<'a>(BytesStart<'a>);

impl Element<'_> {
    /// The name without prefix.
    pub(super) fn name(&self) -> &str {
        self.0.name().local_name().into_inner()
    }

    /// The value of the attribute of that name, whatever its prefix, as it stands in the file: the values that are
    /// looked at (references, identifiers, numbers, paths) hold nothing that is escaped.
    pub(super) fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, InspectError> {
        for attribute in self.0.attributes().with_checks(false) {
            let attribute =
                attribute.map_err(|_| InspectError::unread("an attribute of its XML cannot be read"))?;
            if attribute.key.local_name().as_ref() == name {
                return Ok(Some(attribute.value));
            }
        }
        Ok(None)
    }

    /// The value of the attribute of that name with what is escaped in it resolved; `None` where it is missing or has
    /// more than `most` bytes.
    pub(super) fn text(&self, name: &str, most: usize) -> Result<Option<String>, InspectError> {
        let Some(value) = self.attribute(name)?.filter(|value| value.len() <= most) else { return Ok(None) };
        Ok(unescape(&value).ok().map(Cow::into_owned))
    }
}

/// The end of an element.
pub(super) struct EndTag<'a>(BytesEnd<'a>);

impl EndTag<'_> {
    /// The name without prefix.
    pub(super) fn name(&self) -> &str {
        self.0.name().local_name().into_inner()
    }
}

/// One part of a workbook.
pub(super) struct Xml<'m> {
    reader: Reader<Bounded<'m>>,
    buffer: Vec<u8>,
    /// For the second of two references that stand for one character.
    second: Vec<u8>,
    depth: usize,
    part: &'m str,
    meter: &'m Meter<'m>,
}

impl<'m> Xml<'m> {
    /// Reads the part of the name `part`.
    pub(super) fn new(inner: &'m mut dyn BufRead, part: &'m str, meter: &'m Meter<'m>) -> Self {
        let mut reader = Reader::from_reader(Bounded { inner, meter, left: MAX_ROW });
        reader.config_mut().expand_empty_elements = true;
        Self { reader, buffer: Vec::new(), second: Vec::new(), depth: 0, part, meter }
    }

    /// The part's name.
    pub(super) fn name(&self) -> &str {
        self.part
    }

    /// The next node.
    pub(super) fn next(&mut self) -> Result<Node<'_>, InspectError> {
        self.buffer.clear();
        self.reader.get_mut().left = MAX_ROW;
        let (part, meter) = (self.part, self.meter);
        let unread = |what: &str| InspectError::unread(format_args!("{part}: {what}"));
        let explain = |error: quick_xml::Error| {
            meter.explain(|| InspectError::unread(format_args!("{part}: {}", fault(&error))))
        };
        Ok(match self.reader.read_event_into(&mut self.buffer).map_err(explain)? {
            Event::Start(start) => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(unread("elements lie deeper than in any workbook"));
                }
                if start.name().into_inner().len() > MAX_NAME {
                    return Err(unread("an element has a longer name than any in a workbook"));
                }
                Node::Start(Element(start))
            }
            Event::End(end) => {
                self.depth = self.depth.saturating_sub(1);
                Node::End(EndTag(end))
            }
            Event::Text(text) => Node::Text(text.xml10_content()),
            Event::CData(text) => Node::Text(text.xml10_content()),
            Event::GeneralRef(reference) => match surrogate(&reference) {
                None => Node::Text(resolve(&reference).ok_or_else(|| unread("an unknown entity"))?),
                Some(high) => {
                    self.second.clear();
                    let second = self.reader.read_event_into(&mut self.second).map_err(explain)?;
                    let low = if let Event::GeneralRef(low) = second { surrogate(&low) } else { None };
                    let pair = low.and_then(|low| char::decode_utf16([high, low]).next()?.ok());
                    let pair = pair.ok_or_else(|| unread("a reference to half a character"))?;
                    Node::Text(Cow::Owned(pair.to_string()))
                }
            },
            Event::DocType(_) => {
                return Err(unread("a document type declaration, which no workbook has"));
            }
            Event::Eof if self.depth > 0 => return Err(unread("it ends inside an element")),
            Event::Eof => Node::Eof,
            _ => Node::Other,
        })
    }
}

/// What is wrong with XML, without a quotation of it: it may hold a record's cell.
fn fault(error: &quick_xml::Error) -> &'static str {
    match error {
        quick_xml::Error::Io(_) => "it cannot be read",
        quick_xml::Error::Syntax(_) => "a syntax error in its XML",
        quick_xml::Error::IllFormed(_) => "its XML is ill-formed",
        quick_xml::Error::Encoding(_) => "its XML is not in UTF-8",
        _ => "its XML has an error",
    }
}

/// Half of a character that a reference stands for: one beyond U+FFFF may be written as two.
fn surrogate(reference: &BytesRef<'_>) -> Option<u16> {
    let number = reference.strip_prefix('#')?;
    let unit = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u16::from_str_radix(hex, 16),
        None => number.parse(),
    };
    unit.ok().filter(|unit| (0xd800..0xe000).contains(unit))
}

fn resolve(reference: &BytesRef<'_>) -> Option<Cow<'static, str>> {
    match reference.resolve_char_ref().ok()? {
        Some(character) => Some(Cow::Owned(character.to_string())),
        None => resolve_predefined_entity(reference).map(Cow::Borrowed),
    }
}

/// Gives only so many bytes for one node, since a node is held in memory.
struct Bounded<'m> {
    inner: &'m mut dyn BufRead,
    meter: &'m Meter<'m>,
    left: usize,
}

impl BufRead for Bounded<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(self.meter.fail(InspectError::unread("a piece of XML does not end")));
        }
        let buffer = self.inner.fill_buf()?;
        Ok(&buffer[..buffer.len().min(self.left)])
    }

    fn consume(&mut self, count: usize) {
        self.left -= count;
        self.inner.consume(count);
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buf)?;
        self.consume(count);
        Ok(count)
    }
}
