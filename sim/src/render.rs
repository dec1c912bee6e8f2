//! Records as a file, in every format that an export has been seen or feared to come in.

use std::{
    error::Error,
    io::{self, Write as _},
    str::FromStr,
};

use flate2::{Compression, GzBuilder};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Workbook};

use crate::{
    records::{COLUMN_COUNT, COLUMNS, Record},
    selection::Language,
};

/// The format of exported files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// A workbook; it carries its creation time, hence no two exports have the same bytes.
    #[default]
    Xlsx,
    /// UTF-8, comma-separated, CRLF after each row.
    Csv,
    /// The same after a byte order mark.
    CsvBom,
    /// The same text in GB18030.
    CsvGb18030,
    /// [`Format::Csv`] in gzip, whose header carries the creation time.
    GzipCsv,
    /// [`Format::Xlsx`] in gzip.
    GzipXlsx,
}

impl Format {
    const NAMES: [(&'static str, Self); 6] = [
        ("xlsx", Self::Xlsx),
        ("csv", Self::Csv),
        ("csv-bom", Self::CsvBom),
        ("csv-gb18030", Self::CsvGb18030),
        ("csv-gz", Self::GzipCsv),
        ("xlsx-gz", Self::GzipXlsx),
    ];

    /// For the file name offered with an export.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Xlsx => "xlsx",
            Self::Csv | Self::CsvBom | Self::CsvGb18030 => "csv",
            Self::GzipCsv => "csv.gz",
            Self::GzipXlsx => "xlsx.gz",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, format)| *format)
            .ok_or_else(|| format!("one of {}", Self::NAMES.map(|(name, _)| name).join(", ")))
    }
}

pub(crate) type RenderError = Box<dyn Error + Send + Sync>;

/// The whole file; `created` is the creation time written into it, in Unix seconds.
pub(crate) fn file(
    records: &[Record],
    format: Format,
    language: Language,
    created: i64,
) -> Result<Vec<u8>, RenderError> {
    let text = || csv_text(records, language);
    Ok(match format {
        Format::Xlsx => workbook(records, language, created)?,
        Format::Csv => text()?,
        Format::CsvBom => [b"\xEF\xBB\xBF".as_slice(), &text()?].concat(),
        Format::CsvGb18030 => encoding_rs::GB18030.encode(&String::from_utf8(text()?)?).0.into_owned(),
        Format::GzipCsv => gzip(&text()?, created)?,
        Format::GzipXlsx => gzip(&workbook(records, language, created)?, created)?,
    })
}

/// The header row in one of the two languages.
pub(crate) fn header(language: Language) -> [&'static str; COLUMN_COUNT] {
    COLUMNS.map(|(english, chinese)| match language {
        Language::English => english,
        Language::Chinese => chinese,
    })
}

/// Rows as CSV text, each ended by CRLF.
pub(crate) fn csv_rows<I, R, C>(rows: I) -> io::Result<Vec<u8>>
where
    I: IntoIterator<Item = R>,
    R: IntoIterator<Item = C>,
    C: AsRef<str>,
{
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        for cell in row {
            writer.write_field(cell.as_ref())?;
        }
        // Ends the row that the fields make up.
        writer.write_record(None::<&[u8]>)?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}

fn csv_text(records: &[Record], language: Language) -> io::Result<Vec<u8>> {
    let mut text = csv_rows([header(language)])?;
    text.extend(csv_rows(records.iter().map(Record::cells))?);
    Ok(text)
}

fn workbook(records: &[Record], language: Language, created: i64) -> Result<Vec<u8>, RenderError> {
    let mut workbook = Workbook::new();
    workbook.set_properties(
        &DocProperties::new().set_creation_datetime(&ExcelDateTime::from_timestamp(created)?),
    );
    let sheet = workbook.add_worksheet();
    sheet.set_name(match language {
        Language::English => "Connection records",
        Language::Chinese => "连接记录",
    })?;
    for (column, title) in (0u16..).zip(header(language)) {
        sheet.write_string(0, column, title)?;
    }
    for (row, record) in (1u32..).zip(records) {
        for (column, cell) in (0u16..).zip(record.cells()) {
            // An empty cell is left out altogether, as spreadsheet writers do.
            if !cell.is_empty() {
                sheet.write_string(row, column, cell)?;
            }
        }
    }
    Ok(workbook.save_to_buffer()?)
}

fn gzip(content: &[u8], created: i64) -> Result<Vec<u8>, RenderError> {
    let mut encoder = GzBuilder::new().mtime(u32::try_from(created)?).write(Vec::new(), Compression::fast());
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}
