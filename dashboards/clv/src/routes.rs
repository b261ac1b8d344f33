//! The dashboard's routes: the page, one customer, the files of both, the live socket.

use axum::{
    Router,
    extract::{Path, RawQuery, State, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use kyros_dashboard_kit::{
    DataClient, DataError, FilterError, Keep, Notice, Page, Query, QueryError, Visitor, assets, csv, live,
};
use tokio::task::spawn_blocking;

use crate::{
    page::{self, ROWS, Shown, TITLE},
    selection,
    source::{ACQUISITION, Failure, Figures, Source, TRANSACTIONS},
};

const DATASETS: &[&str] = &[TRANSACTIONS, ACQUISITION];
/// The filters that choose customers or orders.
const CHOOSING: [&str; 5] = ["from", "to", "segment", "channel", "country"];

/// The dashboard on a client of the data API.
pub fn router(data: DataClient) -> Router {
    Router::new()
        .route("/", get(show))
        .route("/customer", get(customer))
        .route("/customer/{file}", get(customer_file))
        .route("/export/{file}", get(export))
        .route("/live", get(socket))
        .merge(assets())
        .with_state(Source::new(data))
}

/// A page instead of an answer.
struct Refused(Box<Page>);

impl Refused {
    fn new(visitor: &Visitor, notice: Notice) -> Self {
        Self(Box::new(Page::new(TITLE, visitor.clone()).notice(notice)))
    }

    fn address(visitor: &Visitor, error: QueryError) -> Self {
        Self::new(visitor, Notice::address(error, "/"))
    }

    fn filter(visitor: &Visitor, error: &FilterError) -> Self {
        Self::new(visitor, Notice::filter(error))
    }

    fn failure(visitor: &Visitor, failure: &Failure, here: &str) -> Self {
        let notice = match failure {
            Failure::Data(error) => Notice::data(error, here, ROWS),
            Failure::Calculation => Notice::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The calculation failed",
                "The data was read, but the figures could not be computed from it. The log of this dashboard says why.",
                ("Try again", here),
            ),
        };
        Self::new(visitor, notice)
    }
}

/// A request that is understood as far as it can be without data.
struct Asked {
    visitor: Visitor,
    query: Query,
    /// Its own address.
    here: String,
}

impl Asked {
    fn read(visitor: Visitor, path: &str, raw: &RawQuery) -> Result<Self, Refused> {
        match Query::parse(raw.0.as_deref().unwrap_or_default()) {
            Ok(query) => Ok(Self { here: query.href(path), visitor, query }),
            Err(error) => Err(Refused::address(&visitor, error)),
        }
    }

    async fn figures(&self, source: &Source) -> Result<Figures, Refused> {
        let until = selection::until(&self.query).map_err(|error| Refused::filter(&self.visitor, &error))?;
        match source.figures(&self.visitor, until).await {
            Ok(Some(figures)) => Ok(figures),
            Ok(None) => Err(Refused::failure(
                &self.visitor,
                &Failure::Data(DataError::Missing(TRANSACTIONS.to_owned())),
                &self.here,
            )),
            Err(failure) => Err(Refused::failure(&self.visitor, &failure, &self.here)),
        }
    }

    /// Draws something from the figures, away from the threads that answer requests.
    async fn draw<T: Send + 'static>(
        self,
        figures: Figures,
        draw: impl FnOnce(&Shown<'_>, Visitor) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (visitor, here) = (self.visitor.clone(), self.here.clone());
        let drawn = spawn_blocking(move || {
            let (book, fit, acquisition) = (&*figures.book, &*figures.fit, figures.acquisition.as_deref());
            let (filters, selection) = selection::filters(self.query.clone(), book, fit)?;
            let shown = Shown { book, fit, acquisition, selection, filters, asked: &self.query };
            Ok::<_, FilterError>(draw(&shown, self.visitor))
        });
        match drawn.await {
            Ok(Ok(drawn)) => Ok(drawn),
            Ok(Err(error)) => Err(Refused::filter(&visitor, &error)),
            Err(error) => Err(Refused::failure(&visitor, &error.into(), &here)),
        }
    }
}

impl axum::response::IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

async fn show(State(source): State<Source>, visitor: Visitor, query: RawQuery) -> Result<Page, Refused> {
    let asked = Asked::read(visitor, "/", &query)?;
    let figures = asked.figures(&source).await?;
    asked.draw(figures, page::page).await
}

/// The place of the customer that the address names.
fn find(shown: &Shown<'_>) -> Option<usize> {
    shown.asked.get("customer").and_then(|id| shown.book.find(id))
}

fn unknown(visitor: Visitor, back: &str) -> Page {
    let text = "The data has no customer of this name. The customer may have gone, or the link is of another tenant.";
    let notice = Notice::new(StatusCode::NOT_FOUND, "There is no such customer", text, ("All customers", back));
    Page::new(TITLE, visitor).notice(notice)
}

async fn customer(State(source): State<Source>, visitor: Visitor, query: RawQuery) -> Result<Page, Refused> {
    let asked = Asked::read(visitor, "/customer", &query)?;
    let figures = asked.figures(&source).await?;
    let draw = |shown: &Shown<'_>, visitor: Visitor| match find(shown) {
        Some(place) => page::customer(shown, place, visitor),
        None => unknown(visitor, &shown.filters.query().href("/")),
    };
    asked.draw(figures, draw).await
}

async fn customer_file(
    State(source): State<Source>,
    visitor: Visitor,
    Path(file): Path<String>,
    query: RawQuery,
) -> Result<Response, Refused> {
    let asked = Asked::read(visitor, "/customer", &query)?;
    let figures = asked.figures(&source).await?;
    let draw = move |shown: &Shown<'_>, visitor: Visitor| {
        let (id, back) = (file.strip_suffix(".csv").unwrap_or_default(), shown.filters.query().href("/"));
        let page = find(shown).map(|place| page::customer(shown, place, visitor.clone()));
        page.and_then(|page| page.into_csv(id)).unwrap_or_else(|| unknown(visitor, &back).into_response())
    };
    asked.draw(figures, draw).await
}

async fn export(
    State(source): State<Source>,
    visitor: Visitor,
    Path(file): Path<String>,
    query: RawQuery,
) -> Result<Response, Refused> {
    let asked = Asked::read(visitor, "/", &query)?;
    let id = file.strip_suffix(".csv").unwrap_or_default().to_owned();
    let is_rows = id == TRANSACTIONS;
    if id == ACQUISITION || (is_rows && CHOOSING.iter().all(|name| asked.query.get(name).is_none())) {
        // Every row: no figure is needed, so there is nothing to wait for.
        let file = source.data.csv(&asked.visitor, &id, TITLE, |_| Box::new(|_: &[String]| true)).await;
        return file.map_err(|error| Refused::failure(&asked.visitor, &error.into(), &asked.here));
    }
    let figures = asked.figures(&source).await?;
    if is_rows {
        return rows(&source, asked, figures).await;
    }
    let draw = move |shown: &Shown<'_>, visitor: Visitor| {
        let tenant = visitor.tenant.clone();
        if id == "customers" {
            let stem = csv::file_stem(TITLE, &tenant, &id);
            return csv::attachment(&stem, page::all_customers(shown).csv());
        }
        let notice = || {
            let text = "The page has no table of this name under these filters.";
            Notice::new(StatusCode::NOT_FOUND, "There is no such file", text, ("Show the page", "/"))
        };
        let page = page::page(shown, visitor.clone());
        page.into_csv(&id).unwrap_or_else(|| Page::new(TITLE, visitor).notice(notice()).into_response())
    };
    asked.draw(figures, draw).await
}

/// The orders of the customers shown, within the period.
async fn rows(source: &Source, asked: Asked, figures: Figures) -> Result<Response, Refused> {
    let (visitor, here) = (asked.visitor.clone(), asked.here.clone());
    let selection = asked.draw(figures.clone(), |shown, _| shown.selection).await?;
    let filter = move |head: &[String]| -> Keep {
        let place = |name: &str| head.iter().position(|column| column == name);
        let (customer, date) = (place("customer_id"), place("order_date"));
        Box::new(move |row| {
            let cell = |place: Option<usize>| place.and_then(|place| row.get(place)).map(String::as_str);
            let day = cell(date).and_then(|text| text.get(..10)?.parse().ok());
            let known = cell(customer).and_then(|id| figures.book.find(id));
            known
                .zip(day)
                .is_some_and(|(place, day)| selection.within(day) && selection.has(&figures.book, &figures.fit, place))
        })
    };
    let file = source.data.csv(&visitor, TRANSACTIONS, TITLE, filter).await;
    file.map_err(|error| Refused::failure(&visitor, &error.into(), &here))
}

async fn socket(State(source): State<Source>, visitor: Visitor, upgrade: WebSocketUpgrade) -> Response {
    live(upgrade, visitor, source.data, DATASETS)
}
