//! Reads one part of a workbook as a stream of XML nodes: no DTD, no entities but the predefined ones, bounded in
//! the length of a node and in depth, and complete only when every element was closed.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesEnd, BytesRef, BytesStart, Event};

use super::error::InspectError;
use super::meter::Meter;
use super::rows::MAX_ROW;

/// Deeper than any part of a workbook goes; a reader keeps the names of all open elements.
const MAX_DEPTH: usize = 64;

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
            let attribute = attribute.map_err(InspectError::damaged)?;
            if attribute.key.local_name().as_ref() == name {
                return Ok(Some(attribute.value));
            }
        }
        Ok(None)
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
    depth: usize,
    part: &'m str,
    meter: &'m Meter<'m>,
}

impl<'m> Xml<'m> {
    /// Reads the part of the name `part`.
    pub(super) fn new(inner: &'m mut dyn BufRead, part: &'m str, meter: &'m Meter<'m>) -> Self {
        let mut reader = Reader::from_reader(Bounded { inner, meter, left: MAX_ROW });
        reader.config_mut().expand_empty_elements = true;
        Self { reader, buffer: Vec::new(), depth: 0, part, meter }
    }

    /// The part's name.
    pub(super) fn name(&self) -> &str {
        self.part
    }

    /// The next node.
    pub(super) fn next(&mut self) -> Result<Node<'_>, InspectError> {
        self.buffer.clear();
        self.reader.get_mut().left = MAX_ROW;
        let damaged =
            |what: &dyn std::fmt::Display| InspectError::damaged(format_args!("{}: {what}", self.part));
        let event = self.reader.read_event_into(&mut self.buffer);
        Ok(match event.map_err(|error| self.meter.explain(format_args!("{}: {error}", self.part)))? {
            Event::Start(start) => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(damaged(&"elements lie deeper than in any workbook"));
                }
                Node::Start(Element(start))
            }
            Event::End(end) => {
                self.depth = self.depth.saturating_sub(1);
                Node::End(EndTag(end))
            }
            Event::Text(text) => Node::Text(text.xml10_content()),
            Event::CData(text) => Node::Text(text.xml10_content()),
            Event::GeneralRef(reference) => {
                Node::Text(resolve(&reference).ok_or_else(|| damaged(&"an unknown entity"))?)
            }
            Event::DocType(_) => {
                return Err(damaged(&"a document type declaration, which no workbook has"));
            }
            Event::Eof if self.depth > 0 => return Err(damaged(&"it ends inside an element")),
            Event::Eof => Node::Eof,
            _ => Node::Other,
        })
    }
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
            return Err(self.meter.fail(InspectError::damaged("a piece of XML does not end")));
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
