/** A chip that speaks, in the colour of JupyterLab's other icons. */
export const ICON = `
<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M7 5h10a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-5l-4 4v-4H7a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2zm0 2v8h10V7z"/>
    <path d="M9 10h2v2H9zm4 0h2v2h-2zM8 2h2v2H8zm6 0h2v2h-2zM2 8h2v2H2zm0 4h2v2H2zm18-4h2v2h-2zm0 4h2v2h-2z"/>
  </g>
</svg>`;
