"""The command that builds the catalogue: `python -m llmroute.catalogue_build --inputs FOLDER`."""

from llmroute.catalogue_build.compile import main

if __name__ == "__main__":
    main()
