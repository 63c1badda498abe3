"""The API's description for people, at /docs: Swagger UI from a package on this machine, so that it works offline."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from meshgen.gateway.errors import ApiError

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>meshgen: the API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, filter: true, displayRequestDuration: true, validatorUrl: null,
});
"""
PACKAGED = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
CSP = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
HEADERS = {"content-security-policy": CSP, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def docs_routes() -> APIRouter:
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    async def page() -> Response:
        return HTMLResponse(PAGE, headers=HEADERS)

    @routes.get("/docs/{name}")
    async def part(name: str) -> Response:
        if name == "start.js":
            return Response(START, media_type="text/javascript", headers=HEADERS)
        if name not in PACKAGED:
            raise ApiError(404, "not_found", "there is no such file")
        data = files("fastapi_swagger").joinpath("resources", name).read_bytes()
        return Response(data, media_type=PACKAGED[name], headers=HEADERS | {"cache-control": "max-age=86400"})

    return routes
