"""The account at ollama.com, and what its cloud is asked for, as types."""

from msgspec import Struct


class UserResponse(Struct, omit_defaults=True):
    id: str
    email: str
    name: str
    bio: str = ""
    avatarurl: str = ""
    firstname: str = ""
    lastname: str = ""
    plan: str = ""


class UnauthorizedResponse(Struct):
    error: str
    signin_url: str


class CloudRequest(Struct):
    """To a service of ollama.com, whatever it asks for."""


class Recommendation(Struct, omit_defaults=True):
    model: str
    description: str
    context_length: int = 0
    max_output_tokens: int = 0
    vram_bytes: int = 0
    required_plan: str = ""


class RecommendationsResponse(Struct):
    recommendations: list[Recommendation]
