//! Answers made of rows: a page in any form, or an export.

use axum::http::Uri;
use axum::response::Response;

use crate::app::App;
use crate::caching::{self, Freshness, Known, State};
use crate::envelope::Envelope;
use crate::export::{self, Pages, Place};
use crate::format::Format;
use crate::link;
use crate::problem::ApiError;
use crate::table::{self, Column, Encoder, Spelling};

/// What is known of an answer before its rows are written.
pub(crate) struct Answer {
    pub(crate) format: Format,
    pub(crate) spelling: Spelling,
    pub(crate) envelope: Envelope,
    pub(crate) state: State,
    pub(crate) freshness: Freshness,
    /// The database's clock, and when the symbol changed last; microseconds since 1970-01-01T00:00:00Z.
    pub(crate) age: (i64, Option<i64>),
}

impl Answer {
    /// What its rows are written with.
    ///
    /// # Errors
    /// When the columns cannot be written in its form.
    pub(crate) fn encoder(&self, columns: &[Column]) -> Result<Box<dyn Encoder>, ApiError> {
        Ok(table::encoder(
            self.format,
            columns,
            self.spelling,
            self.envelope.around(),
        )?)
    }

    /// The answer of a page that `encoder` has got; `next` is the query string of the page after it.
    ///
    /// # Errors
    /// When the page cannot be written.
    pub(crate) fn page(
        self,
        known: &Known,
        mut encoder: Box<dyn Encoder>,
        uri: &Uri,
        next: Option<&str>,
    ) -> Result<Response, ApiError> {
        let body = encoder.finish()?;
        let content_type = self.format.content_type();
        let mut response = known.answer_as(Some(self.state), self.freshness, content_type, body);
        self.write_headers(&mut response);
        if let Some(next) = next {
            link::write_next(response.headers_mut(), uri, next);
        }
        Ok(response)
    }

    /// The answer of all `pages`, of which the first has been read; see [`export::admit`] for its place.
    pub(crate) fn export<P: Pages>(
        self,
        pages: P,
        first: P::Page,
        encoder: Box<dyn Encoder>,
        app: &App,
        place: Option<Place>,
    ) -> Response {
        let body = export::body(pages, first, encoder, app, place);
        let content_type = self.format.content_type();
        let mut response = self
            .state
            .answer_streamed(self.freshness, content_type, body);
        self.write_headers(&mut response);
        response
    }

    /// JSON has the envelope in its body.
    fn write_headers(&self, response: &mut Response) {
        let (now, changed_at) = self.age;
        caching::tell_lag(response, now, changed_at);
        if self.format != Format::Json {
            self.envelope.write_headers(response.headers_mut());
        }
    }
}
