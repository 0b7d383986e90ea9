"""The service joins the packages that do not know each other."""
