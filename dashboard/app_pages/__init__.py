"""One file a page: title, filters, data, empty case, chart."""
