"""`ollmlx.ModelManager` in a real browser, with a registry that is slow."""

from tests.widgets.browser import Notebook

MANAGER = "import ollmlx\nollmlx.ModelManager()"


def test_x(notebook: Notebook, folder):
    notebook.open(folder, "models.ipynb", MANAGER)
    notebook.run()
    models = notebook.widget("ollmlx-manager")
    models.get_by_label("Load echo:latest").click()
    models.get_by_text("Load", exact=True).last.wait_for()
    notebook.page.wait_for_timeout(1500)
    notebook.page.screenshot(path="/tmp/J_2.png")
