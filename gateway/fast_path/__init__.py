"""The way of the busy routes: parsed, decided and answered without aiohttp's own machinery."""
