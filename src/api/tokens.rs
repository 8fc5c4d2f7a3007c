//! `/v1/tokens`

use actix_web::{HttpResponse, http::StatusCode};
use serde_json::{Value, json};

use super::{
    call::{Answer, Call, json, located, ok},
    list::List,
    query::Query,
    schema::{Schemas, duration, id, list_of, moment, moment_or_null, object, or_null, printed, put, text_or_null},
};
use crate::{
    pipeline::{LIFE, NAME, NewToken},
    store::{Scope, TokenId, TokenRow},
};

pub(super) async fn list(call: Call) -> Answer {
    let mut query = Query::new(call.request.query_string());
    let cursors = call.cursors();
    let (limit, after) = (query.limit(), query.cursor::<TokenId>(&cursors));
    query.done()?;
    let mut tokens = call.hooks().tokens();
    tokens.retain(|token| after.as_ref().is_none_or(|after| token.id > *after));
    ok(&List::of(&cursors, tokens, limit, |token| token.id.clone())?.map(|token| shown(&call, &token)))
}

pub(super) async fn create(call: Call) -> Answer {
    let body = call.configuration(&["application/json"]).await?;
    let token = NewToken::parse(&body, call.hooks().clock().now().wall)?;
    let (text, row) = call.hooks().create_token(token).await?;
    let mut body = shown(&call, &row);
    put(&mut body, "token", text.into());
    let mut response = json(StatusCode::CREATED, &body)?;
    located(&mut response, &format!("{}/{}", call.request.path().trim_end_matches('/'), row.id));
    Ok(response)
}

pub(super) async fn delete(call: Call) -> Answer {
    call.hooks().delete_token(&call.named("id", "token")?).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn shown(call: &Call, token: &TokenRow) -> Value {
    let now = call.hooks().clock().now().wall;
    json!({
        "id": token.id,
        "name": token.name,
        "scopes": token.scopes,
        "tenant": token.tenant,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "expired": token.expires_at.is_some_and(|expiry| expiry <= now),
        "last_used_at": token.last_used_at,
    })
}

pub(super) fn schemas(all: &mut Schemas) {
    let scopes = json!({"type": "array", "items": {"enum": Scope::ALL}, "minItems": 1, "maxItems": Scope::ALL.len()});
    let token = json!({
        "id": {"type": "string"},
        "name": text_or_null(),
        "scopes": scopes,
        "tenant": text_or_null(),
        "created_at": moment(),
        "expires_at": moment_or_null(),
        "expired": {"type": "boolean"},
        "last_used_at": moment_or_null(),
    });
    let mut with_text = token.clone();
    put(&mut with_text, "token", json!({"type": "string", "description": "The token itself: shown this once."}));
    all.add(
        "NewToken",
        object(
            &["scopes"],
            json!({
                "name": or_null(printed(Some(NAME))),
                "scopes": scopes,
                "tenant": or_null(id()),
                "expires_at": moment_or_null(),
                "expires_in": or_null(duration(&LIFE)),
            }),
        ),
    );
    all.add("Token", object(&[], token));
    all.add("MadeToken", object(&["token"], with_text));
    all.add("TokenList", list_of("Token"));
}
