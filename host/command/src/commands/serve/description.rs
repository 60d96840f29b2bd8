//! The routes, and the OpenAPI document that describes them.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, PathItem, RefOr, Required, SecurityRequirement};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::served::Served;
use super::{archives, entries, health, listing, reports};

/// The path prefix that names a namespace.
const SPACE: &str = "/v1/namespaces/{namespace}";

#[derive(OpenApi)]
#[openapi(info(
    title = "mneme",
    description = "A semantic cache: answers questions that were answered before, also in other words. Errors are `{\"error\": {\"kind\", \"message\", \"retryable\"}}`; that of an erasure which stopped half way also has its `receipt`."
))]
struct Heading;

/// All routes, described.
pub fn routes() -> OpenApiRouter<Arc<Served>> {
    OpenApiRouter::with_openapi(Heading::openapi())
        .nest("/v1", in_namespace())
        .nest(SPACE, in_namespace())
        .routes(routes!(reports::namespaces))
        .routes(routes!(reports::clear))
        .routes(routes!(archives::dump))
        .routes(routes!(archives::load))
        .routes(routes!(health::check))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::health))
        .routes(routes!(health::scrape))
}

/// The routes that work in one namespace.
fn in_namespace() -> OpenApiRouter<Arc<Served>> {
    OpenApiRouter::new()
        .routes(routes!(entries::get))
        .routes(routes!(entries::put))
        .routes(routes!(entries::delete))
        .routes(routes!(entries::explain))
        .routes(routes!(entries::feedback))
        .routes(routes!(listing::entries))
        .routes(routes!(listing::erase))
        .routes(routes!(reports::stats))
        .routes(routes!(reports::quota, reports::set_quota))
}

/// Adds the document itself.
pub fn serve(router: Router<Arc<Served>>, mut document: Document) -> Router<Arc<Served>> {
    complete(&mut document);
    // All responses share it.
    let text = Bytes::from(document.to_json().unwrap_or_default());
    router.route(
        "/openapi.json",
        get(move || async move { ([(header::CONTENT_TYPE, "application/json")], text) }),
    )
}

/// Adds what the handlers do not declare: namespaces, and the token.
fn complete(document: &mut Document) {
    for (path, item) in &mut document.paths.paths {
        let in_path = path
            .strip_prefix(SPACE)
            .is_some_and(|rest| rest.starts_with('/'));
        let in_header = path.starts_with("/v1/")
            && !path.starts_with("/v1/namespaces")
            && !["/v1/dump", "/v1/load", "/v1/health"].contains(&path.as_str());
        for operation in operations(item) {
            if in_path {
                add(operation, in_path_parameter());
                // No two operations may have the same name.
                if let Some(id) = &mut operation.operation_id {
                    id.push_str("_in_namespace");
                }
            }
            if in_header {
                add(operation, header_parameter());
            }
        }
    }
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("Required if the server has a token."))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("token", SecurityScheme::Http(token));
    let none: [&str; 0] = [];
    document.security = Some(vec![
        SecurityRequirement::new("token", none),
        SecurityRequirement::default(),
    ]);
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.post,
        &mut item.put,
        &mut item.delete,
    ];
    all.into_iter().flatten()
}

fn add(operation: &mut Operation, parameter: Parameter) {
    operation
        .parameters
        .get_or_insert_default()
        .push(RefOr::T(parameter));
}

fn in_path_parameter() -> Parameter {
    ParameterBuilder::new()
        .name("namespace")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("1 to 1,024 bytes, percent-encoded"))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn header_parameter() -> Parameter {
    ParameterBuilder::new()
        .name("Mneme-Namespace")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "The namespace, 1 to 1,024 bytes of UTF-8. Default: `default`; for stats, entries and erase: all",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}
