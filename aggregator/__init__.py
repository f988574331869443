"""THE BUSINESS: portfolio, forecasts, dispatch, measurement and verification, money, audit."""
