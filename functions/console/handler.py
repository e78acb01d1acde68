"""The console: the money and what is done with it, in a browser, for people with a key."""

from console.app import build
from console.desk import process_desk
from gatehouse.http_api.lambda_handler import lambda_handler

handler = lambda_handler(build(process_desk()))
