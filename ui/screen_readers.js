// What screen readers need and Streamlit does not set.
document.documentElement.lang = "$code";
window.uploadLabel = "$upload";
window.labelUploads = () => {
    const buttons = '[data-testid="stFileUploaderDropzone"] button';
    document.querySelectorAll(buttons).forEach((button) => {
        if (button.ariaLabel !== window.uploadLabel) button.ariaLabel = window.uploadLabel;
    });
};
// An observer reports changes only: the button may be there before this script runs.
window.labelUploads();
// The button comes and goes with the page; one observer serves all of them.
window.uploadObserver ??= new MutationObserver(() => window.labelUploads());
window.uploadObserver.observe(document.body, {childList: true, subtree: true});
