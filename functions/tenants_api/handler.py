"""The API of tenants: their databases made, asked, shared, branched, metered and removed."""

from gatehouse.database.connection import database
from gatehouse.http_api.lambda_handler import lambda_handler
from gatehouse.settings import settings
from tenants_api.api import build
from tenants_api.desk import process_desk

handler = lambda_handler(build(process_desk(database), settings().api_origins))
