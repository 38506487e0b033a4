"""Runs a parsed Go template over data, bounded in steps, depth and size.

A hostile template costs at most `MOST_STEPS` steps, `LONGEST` characters and `MOST_SECONDS` of the
processor; then it fails.
"""

from collections.abc import Iterable
from typing import Any, NoReturn

from ollmlx.errors import OllmlxError
from ollmlx.prompt.gotemplate.functions import FUNCTIONS, typescript
from ollmlx.prompt.gotemplate.nodes import (
    Action,
    Branch,
    Chain,
    Field,
    Function,
    Invoke,
    Jump,
    Literal,
    Nodes,
    Operand,
    Pipeline,
    Program,
    Text,
    Variable,
)
from ollmlx.prompt.gotemplate.printing import LONGEST, TooLong, TooSlow, limited, look, text_of
from ollmlx.prompt.gotemplate.values import Struct, entry, text_method, truth, type_name

MOST_STEPS = 1_000_000
"""Nodes and commands run; a chat of 1,000 messages takes about 50,000."""

_STEPS_UNSEEN = 8
"""Between two looks at the clock, which take a system call."""

DEEPEST = 100
"""Blocks, parentheses and templates inside one another."""

_ABSENT: Any = object()
"""No value comes from the previous command of the pipeline; nil is a value."""


class _Jumped(Exception):
    """`break` or `continue`, on its way to the loop."""

    def __init__(self, keyword: str) -> None:
        super().__init__(keyword)
        self.keyword = keyword


def execute(program: Program, data: dict[str, Any]) -> str:
    """The text a program makes of `data`.

    Raises OllmlxError with Go's text, e.g. `template: :1:3: executing "" at <.A.B>: …`.
    """
    execution = _Execution(program)
    with limited():
        execution.scope("", data).run(program.root, data)
    return "".join(execution.output)


class _Execution:
    """What all templates of one execution share: the output and what is left to spend."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.output: list[str] = []
        self.length = 0
        self.steps = 0
        self.depth = 0

    def scope(self, name: str, data: Any) -> "_Scope":
        return _Scope(self, name, data)


class _Scope:
    """One template being run: its variables, `$` first."""

    def __init__(self, execution: _Execution, name: str, data: Any) -> None:
        self.execution = execution
        self.name = name
        self.variables: list[tuple[str, Any]] = [("$", data)]

    # -- limits and errors

    def _fail(self, node: Operand | Invoke | None, message: str, source: str = "") -> NoReturn:
        if node is None:
            raise OllmlxError(f"template: {self.name}: {message}")
        before = self.execution.program.source[: node.start]
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2].encode())
        shown = source or str(node)
        raise OllmlxError(
            f'template: :{line}:{column}: executing "{self.name}" at <{shown}>: {message}'
        )

    def _step(self) -> None:
        self.execution.steps += 1
        if self.execution.steps > MOST_STEPS:
            self._fail(None, "the template takes too many steps")
        if self.execution.steps % _STEPS_UNSEEN == 0:
            try:
                look()
            except TooSlow as error:
                self._fail(None, str(error))

    def _write(self, text: str) -> None:
        self.execution.length += len(text)
        if self.execution.length > LONGEST:
            self._fail(None, "output is too long")
        self.execution.output.append(text)

    # -- nodes

    def run(self, nodes: Nodes, dot: Any) -> None:
        self.execution.depth += 1
        if self.execution.depth > DEEPEST:
            self._fail(None, f"exceeded maximum template depth ({DEEPEST})")
        for node in nodes:
            self._step()
            match node:
                case Text():
                    self._write(node.text)
                case Action():
                    self._action(node, dot)
                case Branch():
                    self._branch(node, dot)
                case Invoke():
                    self._invoke(node, dot)
                case Jump():
                    raise _Jumped(node.keyword)
        self.execution.depth -= 1

    def _action(self, node: Action, dot: Any) -> None:
        value = self._pipeline(node.pipeline, dot)
        if not node.pipeline.declared:
            self._write("<no value>" if value is None else self._text(node.pipeline, value))

    def _text(self, node: Operand, value: Any) -> str:
        try:
            return text_of(value)
        except (TooLong, TooSlow) as error:
            self._fail(node, str(error))

    def _branch(self, node: Branch, dot: Any) -> None:
        mark = len(self.variables)
        value = self._pipeline(node.pipeline, dot)
        if node.keyword == "range":
            taken = self._range(node, value)
        else:
            taken = truth(value)
            if taken:
                self.run(node.body, value if node.keyword == "with" else dot)
        if not taken and node.otherwise is not None:
            self.run(node.otherwise, dot)
        del self.variables[mark:]

    def _range(self, node: Branch, value: Any) -> bool:
        """Runs the body for each element; whether there was one."""
        declared, mark = node.pipeline.declared, len(self.variables)
        depth, any_element = self.execution.depth, False
        for key, element in self._elements(node, value):
            any_element = True
            self._step()
            if node.pipeline.assigns or len(declared) < 2:
                self._loop_variables(node.pipeline, (key, element)[-len(declared) :], mark)
            else:
                self.variables[mark - 2] = (declared[0], key)
                self.variables[mark - 1] = (declared[1], element)
            try:
                self.run(node.body, element)
            except _Jumped as jump:
                self.execution.depth = depth
                if jump.keyword == "break":
                    break
            finally:
                del self.variables[mark:]
        return any_element

    def _loop_variables(self, pipeline: Pipeline, values: tuple[Any, ...], mark: int) -> None:
        if not pipeline.declared:
            return
        for name, value in zip(pipeline.declared, values, strict=True):
            if pipeline.assigns:
                self._assign(pipeline, name, value)
            else:
                self.variables[mark - 1] = (name, value)

    def _elements(self, node: Branch, value: Any) -> Iterable[tuple[Any, Any]]:
        match value:
            case None:
                return ()
            case bool():
                pass
            case int():
                if len(node.pipeline.declared) > 1:
                    self._fail(
                        node.pipeline, f"can't use {value} to iterate over more than one variable"
                    )
                return ((None, number) for number in range(value))
            case list() | bytes():
                return enumerate(value)
            case dict():
                return sorted(value.items(), key=lambda item: item[0].encode())
        self._fail(node.pipeline, f"range can't iterate over {self._text(node.pipeline, value)}")

    def _invoke(self, node: Invoke, dot: Any) -> None:
        body = self.execution.program.templates.get(node.name)
        if body is None:
            self._fail(node, f'template "{node.name}" not defined')
        argument = self._pipeline(node.pipeline, dot) if node.pipeline else None
        self.execution.scope(node.name, argument).run(body, argument)

    # -- pipelines

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        self.execution.depth += 1
        if self.execution.depth > DEEPEST:
            self._fail(None, f"exceeded maximum template depth ({DEEPEST})")
        value = _ABSENT
        for command in pipeline.commands:
            self._step()
            value = self._command(command, dot, value)
        for name in pipeline.declared:
            if pipeline.assigns:
                self._assign(pipeline, name, value)
            else:
                self.variables.append((name, value))
        self.execution.depth -= 1
        return value

    def _assign(self, node: Operand, name: str, value: Any) -> None:
        for index in range(len(self.variables) - 1, -1, -1):
            if self.variables[index][0] == name:
                self.variables[index] = (name, value)
                return
        self._fail(node, f"undefined variable: {name}")

    def _command(self, command: tuple[Operand, ...], dot: Any, final: Any) -> Any:
        first, *arguments = command
        if isinstance(first, Function):
            return self._call(first, arguments, dot, final)
        if isinstance(first, Literal) and first.source == "nil":
            self._fail(first, "nil is not a command")
        if arguments or final is not _ABSENT:
            if isinstance(first, Field | Chain | Variable) and first.names:
                self._fail(first, f"{first.names[-1]} is not a method but has arguments")
            self._fail(first, f"can't give argument to non-function {first}")
        return self._value(first, dot)

    def _value(self, operand: Operand, dot: Any) -> Any:
        match operand:
            case Literal():
                return operand.value
            case Field():
                return self._fields(operand, dot)
            case Variable():
                return self._fields(operand, self._variable(operand))
            case Chain():
                return self._fields(operand, self._value(operand.operand, dot))
            case Function():
                return self._call(operand, [], dot, _ABSENT)
            case Pipeline():
                return self._pipeline(operand, dot)

    def _variable(self, node: Variable) -> Any:
        for name, value in reversed(self.variables):
            if name == node.name:
                return value
        self._fail(node, f"undefined variable: {node.name}")

    def _fields(self, node: Field | Variable | Chain, value: Any) -> Any:
        """`value.A.B`: nil has nil fields, but what a map does not hold has none (as in Go)."""
        boxed = ""
        for name in node.names:
            match value:
                case None if boxed:
                    self._fail(node, f"nil pointer evaluating {boxed}.{name}")
                case None:
                    return None
                case _ if (told := _method(value, name)) is not None:
                    value, boxed = told, ""
                case dict():
                    value, boxed = entry(value, name), "interface {}"
                case Struct() if name in value.fields:
                    value, boxed = value.fields[name], ""
                case _:
                    kind = boxed or type_name(value)
                    self._fail(node, f"can't evaluate field {name} in type {kind}")
        return value

    def _call(self, node: Function, arguments: list[Operand], dot: Any, final: Any) -> Any:
        function = FUNCTIONS[node.name]
        given = len(arguments) + (final is not _ABSENT)
        if given < function.least or (function.most is not None and given > function.most):
            want = function.least if function.most else f"at least {function.least}"
            got = given if function.most else len(arguments)
            self._fail(node, f"wrong number of args for {node.name}: want {want} got {got}")
        if node.name in ("and", "or"):
            return self._either(node.name == "or", arguments, dot, final)
        values = [self._value(argument, dot) for argument in arguments]
        if final is not _ABSENT:
            values.append(final)
        try:
            result = function.call(*values)
        except ValueError as error:
            whole = Pipeline(((node, *arguments),), (), False, node.start)
            self._fail(node, f"error calling {node.name}: {error}", str(whole))
        return self._charged(node, result)

    def _either(self, wanted: bool, arguments: list[Operand], dot: Any, final: Any) -> Any:
        """The first argument whose truth is `wanted`, the others unevaluated; else the last."""
        value = None
        for argument in arguments:
            value = self._value(argument, dot)
            if truth(value) == wanted:
                return value
        return value if final is _ABSENT else final

    def _charged(self, node: Function, result: Any) -> Any:
        """Text that functions make counts like output, so that it cannot double for ever."""
        if isinstance(result, str):
            self.execution.length += len(result)
            if self.execution.length > LONGEST:
                self._fail(node, "output is too long")
        return result


def _method(value: Any, name: str) -> str | None:
    """What a method of the value gives, where it has one of that name."""
    match name:
        case "String":
            return text_method(value)
        case "ToTypeScriptType" if type_name(value) == "api.ToolProperty":
            return typescript(value)
    return None
