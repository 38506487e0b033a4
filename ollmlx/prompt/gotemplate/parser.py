"""Go template text → `Program`, with Go's error texts."""

from collections.abc import Iterable
from typing import NoReturn

from ollmlx.errors import OllmlxError
from ollmlx.prompt.gotemplate import literals
from ollmlx.prompt.gotemplate.lexer import Kind, Lexer, Token
from ollmlx.prompt.gotemplate.nodes import (
    Action,
    Branch,
    Chain,
    Field,
    Function,
    Invoke,
    Jump,
    Literal,
    Node,
    Nodes,
    Operand,
    Pipeline,
    Program,
    Text,
    Variable,
)
from ollmlx.prompt.gotemplate.printing import quoted

DEEPEST = 60
"""Blocks and parentheses inside one another; more are an error instead of a full stack."""


def parse(text: str, functions: Iterable[str]) -> Program:
    """The program of a template that may call `functions`.

    Raises OllmlxError with Go's text, e.g. `template: :1: unexpected EOF`.
    """
    return _Parser(text, frozenset(functions)).program()


class _Parser:
    def __init__(self, text: str, functions: frozenset[str]) -> None:
        self.text = text
        self.functions = functions
        self.tokens = Lexer(text).run()
        self.position = 0
        self.templates: dict[str, Nodes] = {}
        self.variables = ["$"]
        self.depth = 0
        self.ranges = 0

    def program(self) -> Program:
        nodes: list[Node] = []
        while self._peek().kind is not Kind.EOF:
            if self._at_definition():
                self._definition()
            else:
                node = self._node()
                if isinstance(node, str):
                    self._fail(f"unexpected {{{{{node}}}}}")
                nodes.append(node)
        self._define("", tuple(nodes))
        return Program(self.text, self.templates)

    # -- tokens

    def _peek(self) -> Token:
        """The next token that is not white space; stays on the last token for ever."""
        while self.tokens[self.position].kind is Kind.SPACE:
            self.position += 1
        return self.tokens[self.position]

    def _next(self) -> Token:
        token = self._peek()
        if token.kind not in (Kind.EOF, Kind.ERROR):
            self.position += 1
        return token

    def _expect(self, kind: Kind, context: str) -> Token:
        token = self._next()
        if token.kind is not kind:
            self._unexpected(token, context)
        return token

    def _fail(self, message: str, token: Token | None = None) -> NoReturn:
        line = (token or self.tokens[max(self.position - 1, 0)]).line
        raise OllmlxError(f"template: :{line}: {message}")

    def _unexpected(self, token: Token, context: str) -> NoReturn:
        if token.kind is Kind.ERROR:
            self._fail(token.text, token)
        self._fail(f"unexpected {token} in {context}", token)

    def _enter(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            self._fail("max expression depth exceeded")

    # -- text and actions

    def _at_definition(self) -> bool:
        if self._peek().kind is not Kind.OPEN:
            return False
        following = self.tokens[self.position + 1 : self.position + 3]
        words = [token for token in following if token.kind is not Kind.SPACE]
        return bool(words) and words[0].kind is Kind.KEYWORD and words[0].text == "define"

    def _definition(self) -> None:
        self._next()
        self._next()
        name = self._name("define clause")
        self._expect(Kind.CLOSE, "define clause")
        self._define(name, self._separate_body("define clause"))

    def _separate_body(self, context: str) -> Nodes:
        """A body that sees no variables of its surroundings, up to its `end`."""
        outer, self.variables = self.variables, ["$"]
        ranges, self.ranges = self.ranges, 0
        body, end = self._list()
        if end != "end":
            self._fail(f"unexpected {{{{{end}}}}} in {context}")
        self.variables, self.ranges = outer, ranges
        return body

    def _define(self, name: str, body: Nodes) -> None:
        existing = self.templates.get(name, ())
        if _blank(existing):
            self.templates[name] = body
        elif not _blank(body):
            self._fail(f'template: multiple definition of template "{name}"')

    def _list(self) -> tuple[Nodes, str]:
        """Nodes up to an `end` or `else`, and which of the two it was."""
        self._enter()
        nodes: list[Node] = []
        while self._peek().kind is not Kind.EOF:
            node = self._node()
            if isinstance(node, str):
                self.depth -= 1
                return tuple(nodes), node
            nodes.append(node)
        self._fail("unexpected EOF", self._peek())

    def _node(self) -> Node | str:
        token = self._next()
        if token.kind is Kind.TEXT:
            return Text(token.text)
        if token.kind is not Kind.OPEN:
            self._unexpected(token, "input")
        if self._peek().kind is not Kind.KEYWORD:
            return Action(self._pipeline("command", Kind.CLOSE))
        return self._control(self._next())

    def _control(self, token: Token) -> Node | str:
        match token.text:
            case "if" | "with" | "range":
                return self._branch(token.text)
            case "template":
                return self._invoke(token)
            case "block":
                return self._block(token)
            case "break" | "continue":
                return self._jump(token.text)
            case "end":
                self._expect(Kind.CLOSE, "end")
                return "end"
            case "else":
                return self._else()
        self._unexpected(token, "command")

    def _else(self) -> str:
        following = self._peek()
        if not (following.kind is Kind.KEYWORD and following.text in ("if", "with")):
            self._expect(Kind.CLOSE, "else")
        return "else"

    def _jump(self, keyword: str) -> Jump:
        self._expect(Kind.CLOSE, f"{{{{{keyword}}}}}")
        if self.ranges == 0:
            self._fail(f"{{{{{keyword}}}}} outside {{{{range}}}}")
        return Jump(keyword)

    def _branch(self, keyword: str) -> Branch:
        mark = len(self.variables)
        pipeline = self._pipeline(keyword, Kind.CLOSE)
        self.ranges += keyword == "range"
        body, end = self._list()
        self.ranges -= keyword == "range"
        otherwise = self._otherwise(keyword) if end == "else" else None
        del self.variables[mark:]
        return Branch(keyword, pipeline, body, otherwise)

    def _otherwise(self, keyword: str) -> Nodes:
        following = self._peek()
        if following.kind is Kind.KEYWORD and following.text in ("if", "with"):
            if following.text != keyword:
                self._unexpected(following, "input")
            self._next()
            self._enter()
            inner = self._branch(keyword)
            self.depth -= 1
            return (inner,)
        body, end = self._list()
        if end != "end":
            self._fail(f"expected end; found {{{{{end}}}}}")
        return body

    def _name(self, context: str) -> str:
        token = self._expect(Kind.STRING, context)
        return self._text(token)

    def _text(self, token: Token) -> str:
        try:
            return literals.unquote(token.text)
        except ValueError as error:
            self._fail(str(error), token)

    def _invoke(self, token: Token) -> Invoke:
        name = self._name("template clause")
        if self._peek().kind is Kind.CLOSE:
            self._next()
            return Invoke(name, None, token.start)
        return Invoke(name, self._pipeline("template clause", Kind.CLOSE), token.start)

    def _block(self, token: Token) -> Invoke:
        name = self._name("block clause")
        pipeline = self._pipeline("block clause", Kind.CLOSE)
        self._define(name, self._separate_body("block clause"))
        return Invoke(name, pipeline, token.start)

    # -- pipelines

    def _pipeline(self, context: str, end: Kind) -> Pipeline:
        self._enter()
        start = self._peek().start
        declared, assigns = self._declarations(context)
        commands: list[tuple[Operand, ...]] = []
        while self._peek().kind is not end:
            commands.append(self._command(context))
        if not commands:
            self._fail(f"missing value for {context}", self._peek())
        self._next()
        self._check_stages(commands)
        self.depth -= 1
        return Pipeline(tuple(commands), declared, assigns, start)

    def _check_stages(self, commands: list[tuple[Operand, ...]]) -> None:
        for stage, command in enumerate(commands[1:], start=2):
            first = command[0]
            if isinstance(first, Literal) or (isinstance(first, Field) and not first.names):
                self._fail(f"non executable command in pipeline stage {stage}")

    def _declarations(self, context: str) -> tuple[tuple[str, ...], bool]:
        """Variables before `:=` or `=`, and whether it was `=`; looks ahead and may find none."""
        begin, names = self.position, list[str]()
        while self._peek().kind is Kind.VARIABLE:
            names.append(self._next().text)
            token = self._peek()
            if token.kind in (Kind.DECLARE, Kind.ASSIGN):
                self._next()
                self.variables += names
                return tuple(names), token.kind is Kind.ASSIGN
            if token.kind is not Kind.PUNCTUATION or token.text != ",":
                break
            self._next()
            if context != "range" or len(names) > 1:
                self._fail(f"too many declarations in {context}", token)
            if self._peek().kind is not Kind.VARIABLE:
                self._fail("range can only initialize variables", token)
        self.position = begin
        return (), False

    def _command(self, context: str) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while True:
            operand = self._operand(context)
            if operand is not None:
                operands.append(operand)
            token = self.tokens[self.position]
            if token.kind is Kind.SPACE:
                self.position += 1
                if self._peek().kind not in (Kind.PIPE, Kind.CLOSE, Kind.RIGHT):
                    continue
                token = self._peek()
            break
        if token.kind is Kind.PIPE:
            self._next()
        elif token.kind not in (Kind.CLOSE, Kind.RIGHT):
            self._unexpected(token, "operand" if operands else context)
        if not operands:
            self._fail("empty command", token)
        return tuple(operands)

    def _operand(self, context: str) -> Operand | None:
        token = self._peek()
        term = self._term(token)
        if term is None:
            return None
        start, names = self.tokens[self.position].start, list[str]()
        while self.tokens[self.position].kind is Kind.FIELD:
            names.append(self.tokens[self.position].text[1:])
            self.position += 1
        if not names:
            return term
        if isinstance(term, Field) and term.names:
            return Field(term.names + tuple(names), start)
        if isinstance(term, Variable):
            return Variable(term.name, tuple(names), start)
        if isinstance(term, Literal | Field):
            self._fail(f"unexpected . after term {quoted(str(term))}", token)
        return Chain(term, tuple(names), start)

    def _term(self, token: Token) -> Operand | None:
        match token.kind:
            case Kind.IDENTIFIER if token.text not in self.functions:
                self._fail(f'function "{token.text}" not defined', token)
            case Kind.VARIABLE if token.text not in self.variables:
                self._fail(f'undefined variable "{token.text}"', token)
            case Kind.LEFT:
                self._next()
                return self._pipeline("parenthesized pipeline", Kind.RIGHT)
        made = self._simple(token)
        if made is not None:
            self._next()
        return made

    def _simple(self, token: Token) -> Operand | None:
        match token.kind:
            case Kind.IDENTIFIER:
                return Function(token.text, token.start)
            case Kind.VARIABLE:
                return Variable(token.text, (), token.start)
            case Kind.FIELD:
                return Field((token.text[1:],), token.start)
            case Kind.DOT:
                return Field((), token.start)
            case Kind.BOOL:
                return Literal(token.text == "true", token.text, token.start)
            case Kind.NIL:
                return Literal(None, "nil", token.start)
            case Kind.STRING:
                return Literal(self._text(token), token.text, token.start)
            case Kind.NUMBER | Kind.CHAR:
                return Literal(self._number(token), token.text, token.start)
        return None

    def _number(self, token: Token) -> int | float:
        try:
            if token.kind is Kind.CHAR:
                return literals.character(token.text)
            return literals.number(token.text)
        except ValueError as error:
            self._fail(str(error), token)


def _blank(nodes: Nodes) -> bool:
    return all(isinstance(node, Text) and not node.text.strip() for node in nodes)
