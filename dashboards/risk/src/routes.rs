//! The dashboard's routes: the page, the export, the live socket.

use axum::{
    Router,
    extract::{Path, State, WebSocketUpgrade},
    response::{IntoResponse as _, Response},
    routing::get,
};
use kyros_dashboard_kit::{DataClient, DataError, Page, Visitor, assets, live};

use crate::{
    model::{Exposure, PnlRecord},
    page,
};

const TITLE: &str = "Risk Analysis";
const DATASETS: &[&str] = &["exposures", "pnl"];

/// The dashboard on a client of the data API.
pub fn router(data: DataClient) -> Router {
    Router::new()
        .route("/", get(show))
        .route("/export/{file}", get(export))
        .route("/live", get(socket))
        .merge(assets())
        .with_state(data)
}

async fn show(State(data): State<DataClient>, visitor: Visitor) -> Response {
    let loaded = async { Ok::<_, DataError>((exposures(&data, &visitor).await?, pnl(&data, &visitor).await?)) };
    match loaded.await {
        Ok((exposures, pnl)) => match page::page(TITLE, DATASETS, visitor.clone(), &exposures, &pnl) {
            Ok(page) => page.into_response(),
            Err(error) => {
                Page::message(TITLE, visitor, &format!("These figures cannot be computed: {error}.")).into_response()
            }
        },
        Err(error) => {
            let mut response = Page::message(TITLE, visitor, &error.to_string()).into_response();
            *response.status_mut() = DataError::into_response(error).status();
            response
        }
    }
}

async fn exposures(data: &DataClient, visitor: &Visitor) -> Result<Vec<Exposure>, DataError> {
    let columns = ["counterparty", "sector", "country", "rating", "ead", "pd", "lgd", "maturity"];
    let mut dataset = data.columns(visitor, "exposures", &columns).await?;
    let (counterparty, sector) = (dataset.texts("counterparty")?, dataset.texts("sector")?);
    let (country, rating) = (dataset.texts("country")?, dataset.texts("rating")?);
    let (ead, pd) = (dataset.numbers("ead")?, dataset.numbers("pd")?);
    let (lgd, maturity) = (dataset.numbers("lgd")?, dataset.numbers("maturity")?);
    let row = |index: usize| {
        Some(Exposure {
            counterparty: counterparty[index].clone()?,
            sector: sector[index].clone()?,
            country: country[index].clone()?,
            rating: rating[index].clone()?,
            ead: ead[index]?,
            pd: pd[index]?,
            lgd: lgd[index]?,
            maturity: maturity[index]?,
        })
    };
    Ok((0..counterparty.len()).filter_map(row).collect())
}

async fn pnl(data: &DataClient, visitor: &Visitor) -> Result<Vec<PnlRecord>, DataError> {
    let mut dataset = data.columns(visitor, "pnl", &["date", "desk", "pnl"]).await?;
    let (dates, desks, amounts) = (dataset.texts("date")?, dataset.texts("desk")?, dataset.numbers("pnl")?);
    let rows = dates.into_iter().zip(desks).zip(amounts).filter_map(|((date, desk), pnl)| {
        Some(PnlRecord { date: date?.get(..10)?.parse().ok()?, desk: desk?, pnl: pnl? })
    });
    Ok(rows.collect())
}

async fn export(
    State(data): State<DataClient>,
    visitor: Visitor,
    Path(file): Path<String>,
) -> Result<Response, DataError> {
    let dataset = file.strip_suffix(".csv").filter(|name| DATASETS.contains(name));
    data.csv(&visitor, dataset.ok_or_else(|| DataError::Missing(file.clone()))?).await
}

async fn socket(State(data): State<DataClient>, visitor: Visitor, upgrade: WebSocketUpgrade) -> Response {
    live(upgrade, visitor, data, DATASETS)
}
