"""`llmroute stream`: a response as it arrives."""

from contextlib import closing
from itertools import chain

from llmroute.cli.arguments import RequestArguments
from llmroute.cli.errors import fail
from llmroute.cli.signatures import OfCompleteAnswer, takes_a_request
from llmroute.errors import RequestError


@takes_a_request(streaming=True)
def stream(arguments: RequestArguments, of_complete_answer: OfCompleteAnswer = None) -> None:
    """Stream a response.

    Falls back to another model until the first text is printed.
    """
    if of_complete_answer:
        text = "a schema or a check needs the whole answer, which stream does not wait for; use llmroute gen"
        fail(RequestError(text), as_json=arguments.as_json)
    from llmroute.cli.output.spinner import spinning
    from llmroute.cli.output.writers import JSONLinesWriter, writer_for
    from llmroute.cli.session import answering
    from llmroute.errors import LLMRouteError

    with answering(arguments) as session:
        writer = writer_for(arguments, JSONLinesWriter)
        response = None
        started = False
        try:
            with closing(session.service.answer(arguments.options(), streaming=True)) as pieces:
                with spinning(quiet=arguments.quiet):
                    first = next(pieces)
                for piece in chain([first], pieces):
                    started = True
                    if isinstance(piece, str):
                        with session.writing():
                            writer.write(piece)
                        continue
                    response = piece
                    session.record(piece)
                    with session.writing():
                        writer.end(piece)
                    session.write_usage(piece)
        except LLMRouteError:
            if started:
                with session.writing():
                    writer.end()
            raise
        assert response is not None
        session.conclude(response)
