//! The dashboard's routes: the page, an obligor's page, the files of both, the live socket.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, RawQuery, State, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use kyros_dashboard_kit::{DataClient, Filters, Notice, Page, Query, Visitor, assets, csv, live};

use crate::{
    book::Book,
    load::{Books, DATASETS, Failure},
    page::{self, Extent, OBLIGOR_NAME, POSITIONS, TITLE},
    selection,
};

#[derive(Clone)]
struct Dashboard {
    data: DataClient,
    books: Books,
}

/// The dashboard on a client of the data API.
pub fn router(data: DataClient) -> Router {
    Router::new()
        .route(selection::PAGE, get(show))
        .route("/obligor", get(obligor))
        .route("/obligor/{file}", get(obligor_file))
        .route("/export/{file}", get(export))
        .route("/live", get(socket))
        .merge(assets())
        .with_state(Dashboard { books: Books::new(data.clone()), data })
}

/// A request that has its book and its filters.
struct Asked {
    visitor: Visitor,
    book: Arc<Book>,
    filters: Filters,
    query: Query,
}

impl Dashboard {
    /// The book of whoever asks and what the address selects of it, or the page that says what is wrong.
    async fn asked(&self, visitor: Visitor, query: Option<String>) -> Result<Asked, Response> {
        let refused = |notice| Page::new(TITLE, visitor.clone()).notice(notice).into_response();
        let query = Query::parse(query.as_deref().unwrap_or_default())
            .map_err(|error| refused(Notice::address(error, selection::PAGE)))?;
        let here = query.href(selection::PAGE);
        let book = self
            .books
            .of(&visitor)
            .await
            .map_err(|failure| page::failure(visitor.clone(), &failure, &here).into_response())?;
        let filters = selection::filters(&book, query.clone())
            .map_err(|error| page::dated(visitor.clone(), &book).notice(Notice::filter(&error)).into_response())?;
        Ok(Asked { visitor, book, filters, query })
    }
}

/// Draws off the threads that answer requests.
async fn draw<T: Send + 'static>(visitor: Visitor, draw: impl FnOnce() -> T + Send + 'static) -> Result<T, Response> {
    let drawn = tokio::task::spawn_blocking(draw).await;
    drawn.map_err(|_| page::failure(visitor, &Failure::BrokenOff, selection::PAGE).into_response())
}

async fn show(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Page, Response> {
    let Asked { visitor, book, filters, query } = dashboard.asked(visitor, query).await?;
    draw(visitor.clone(), move || page::page(visitor, &book, filters, Extent::Paged(query.get("page")))).await
}

async fn obligor(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Page, Response> {
    let Asked { visitor, book, filters, query } = dashboard.asked(visitor, query).await?;
    let name = query.get(OBLIGOR_NAME).unwrap_or_default().to_owned();
    draw(visitor.clone(), move || page::obligor_page(visitor, &book, &filters, &name)).await
}

async fn obligor_file(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    Path(file): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Response> {
    let Asked { visitor, book, filters, query } = dashboard.asked(visitor, query).await?;
    let name = query.get(OBLIGOR_NAME).unwrap_or_default().to_owned();
    let whose = visitor.clone();
    let page = draw(visitor.clone(), move || page::obligor_page(visitor, &book, &filters, &name)).await?;
    page.into_csv(id(&file)).ok_or_else(|| no_such_file(whose))
}

/// A file's name without its ending; nothing where it is no CSV file.
fn id(file: &str) -> &str {
    file.strip_suffix(".csv").unwrap_or_default()
}

fn no_such_file(visitor: Visitor) -> Response {
    let text = "The page has no table of this name under these filters.";
    let notice = Notice::new(StatusCode::NOT_FOUND, "There is no such file", text, ("Show the page", selection::PAGE));
    Page::new(TITLE, visitor).notice(notice).into_response()
}

/// A file: a dataset as it was delivered, the positions of the selection, or what is behind a panel, all of its rows.
async fn export(
    State(dashboard): State<Dashboard>,
    visitor: Visitor,
    Path(file): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Response> {
    let id = id(&file).to_owned();
    if DATASETS.contains(&id.as_str()) {
        return dashboard.rows(visitor, &id, query).await;
    }
    let Asked { visitor, book, filters, .. } = dashboard.asked(visitor, query).await?;
    let (whose, here) = (visitor.clone(), filters.query().href(selection::PAGE));
    if id == POSITIONS {
        return match draw(visitor.clone(), move || page::positions_csv(&book, &filters)).await? {
            Ok(text) => Ok(csv::attachment(&csv::file_stem(TITLE, &visitor.tenant, POSITIONS), text)),
            Err(error) => Err(page::failure(visitor, &Failure::Figures(error), &here).into_response()),
        };
    }
    let file = draw(visitor.clone(), move || page::page(visitor, &book, filters, Extent::Whole).into_csv(&id)).await?;
    file.ok_or_else(|| no_such_file(whose))
}

impl Dashboard {
    /// The rows of a dataset that the filters of the address let through. It needs no book, so that it also serves where
    /// there are more rows than a page can hold.
    async fn rows(&self, visitor: Visitor, dataset: &str, query: Option<String>) -> Result<Response, Response> {
        let refused = |notice| Page::new(TITLE, visitor.clone()).notice(notice).into_response();
        let query = Query::parse(query.as_deref().unwrap_or_default())
            .map_err(|error| refused(Notice::address(error, selection::PAGE)))?;
        let here = query.href(selection::PAGE);
        let file = self.data.csv(&visitor, dataset, TITLE, move |columns| selection::keep(&query, columns)).await;
        file.map_err(|error| page::failure(visitor, &Failure::Data(error), &here).into_response())
    }
}

async fn socket(State(dashboard): State<Dashboard>, visitor: Visitor, upgrade: WebSocketUpgrade) -> Response {
    live(upgrade, visitor, dashboard.data, DATASETS)
}
