"""Signs certificates; knows neither customers nor codes."""
